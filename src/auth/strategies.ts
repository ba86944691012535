import { Injectable } from '@nestjs/common';
import { PassportStrategy } from '@nestjs/passport';
import type { FastifyRequest } from 'fastify';
import { HeaderAPIKeyStrategy } from 'passport-headerapikey';
import { Strategy as JwtStrategyBase } from 'passport-jwt';
import { ApiKeysService } from '../api-keys/api-keys.service';
import type { ApiKeyPrincipal, UserPrincipal } from '../common/principal';
import { ACCESS_TOKEN_ALGORITHM, AccessTokens } from './access-tokens';
import { SessionsService } from './sessions.service';

/** How a request may say who it is from; each is the name of a passport strategy. */
export type CredentialScheme = 'access-token' | 'api-key-header' | 'api-key-bearer';

/**
 * Which credential a request carries, or null for none: `X-API-Key` comes before `Authorization: Bearer`,
 * where `ctx_` tells a key from an access token.
 */
export function credentialScheme({ headers }: Pick<FastifyRequest, 'headers'>): CredentialScheme | null {
  if (headers['x-api-key']) return 'api-key-header';
  const { authorization } = headers;
  if (!authorization?.startsWith('Bearer ')) return authorization ? 'access-token' : null;
  return authorization.startsWith('Bearer ctx_') ? 'api-key-bearer' : 'access-token';
}

@Injectable()
export class AccessTokenStrategy extends PassportStrategy(JwtStrategyBase, 'access-token' satisfies CredentialScheme) {
  constructor(
    private readonly tokens: AccessTokens,
    private readonly sessions: SessionsService,
  ) {
    super({
      jwtFromRequest: ({ headers }: Pick<FastifyRequest, 'headers'>) => /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/.exec(headers.authorization ?? '')?.[1] ?? null,
      secretOrKeyProvider: (_request: unknown, token: string, done: (error: Error | null, key?: string) => void) => {
        const key = tokens.keyFor(token);
        if (key) done(null, key);
        else done(new Error('The token names no key of ours.'));
      },
      algorithms: [ACCESS_TOKEN_ALGORITHM],
      issuer: tokens.issuer,
      audience: tokens.audience,
      // Whether a token is current is decided in AccessTokens, by the injected clock.
      jsonWebTokenOptions: { ignoreNotBefore: true },
      ignoreExpiration: true,
    });
  }

  async validate(payload: unknown): Promise<UserPrincipal | null> {
    const claims = this.tokens.currentClaims(payload);
    return claims && this.sessions.principal(claims.sid, claims.sub);
  }
}

@Injectable()
export class ApiKeyHeaderStrategy extends PassportStrategy(HeaderAPIKeyStrategy, 'api-key-header' satisfies CredentialScheme) {
  constructor(private readonly apiKeys: ApiKeysService) {
    super({ header: 'X-API-Key', prefix: '' }, false);
  }

  validate(key: string): Promise<ApiKeyPrincipal | null> {
    return apiKeyPrincipal(this.apiKeys, key);
  }
}

@Injectable()
export class ApiKeyBearerStrategy extends PassportStrategy(HeaderAPIKeyStrategy, 'api-key-bearer' satisfies CredentialScheme) {
  constructor(private readonly apiKeys: ApiKeysService) {
    super({ header: 'Authorization', prefix: 'Bearer ' }, false);
  }

  validate(key: string): Promise<ApiKeyPrincipal | null> {
    return apiKeyPrincipal(this.apiKeys, key);
  }
}

async function apiKeyPrincipal(apiKeys: ApiKeysService, text: string): Promise<ApiKeyPrincipal | null> {
  const key = await apiKeys.authenticate(text);
  return (
    key && {
      kind: 'api_key',
      userId: key.userId,
      apiKeyId: key.id,
      permissions: key.permissions,
      rateLimitPerMinute: key.rateLimitPerMinute,
      tier: key.user.tier,
    }
  );
}
