import { Injectable } from '@nestjs/common';
import { PassportStrategy } from '@nestjs/passport';
import type { FastifyRequest } from 'fastify';
import { HeaderAPIKeyStrategy } from 'passport-headerapikey';
import { Strategy as JwtStrategy } from 'passport-jwt';
import { ApiKeyAuthenticator } from '../api-keys/api-key-authenticator';
import { ApiError } from '../common/api-error';
import { CommonErrors } from '../common/common.errors';
import { keyRefusals } from '../common/denials';
import type { ApiKeyPrincipal, Principal, UserPrincipal } from '../common/principal';
import { AccessTokens } from './access-tokens';
import { SessionsService } from './sessions.service';

type WithHeaders = Pick<FastifyRequest, 'headers'>;

/** What a request shows to say who it is from. */
export interface Credential {
  readonly kind: 'access-token' | 'api-key';
  readonly text: string;
}

/**
 * The credential of a request, or null for none: `X-API-Key` comes before `Authorization: Bearer`, where its beginning
 * tells a key from an access token. An `Authorization` that is neither counts as a wrong access token.
 * @param keyPrefixes what keys begin with.
 */
export function credentialOf({ headers }: WithHeaders, keyPrefixes: readonly string[]): Credential | null {
  const key = headers['x-api-key'];
  if (key) return { kind: 'api-key', text: String(key) };
  const text = bearerOf({ headers });
  if (text === null) return null;
  return { kind: keyPrefixes.some((prefix) => text.startsWith(prefix)) ? 'api-key' : 'access-token', text };
}

/** What an `Authorization` holds; empty when it is no bearer token. */
function bearerOf({ headers: { authorization } }: WithHeaders): string | null {
  if (!authorization) return null;
  // The name of a scheme is case-insensitive (RFC 9110, 11.1).
  return /^Bearer /i.test(authorization) ? authorization.slice('Bearer '.length) : '';
}

/** Takes an access token. */
@Injectable()
export class AccessTokenStrategy extends PassportStrategy(JwtStrategy) {
  constructor(
    private readonly tokens: AccessTokens,
    private readonly sessions: SessionsService,
  ) {
    super({
      jwtFromRequest: bearerOf,
      secretOrKeyProvider: (
        _request: unknown,
        token: string,
        done: (error: Error | null, key?: string) => void,
      ) => {
        const key = tokens.keyFor(token);
        // jsonwebtoken takes key objects, which the types of passport-jwt do not say.
        if (key) done(null, key as unknown as string);
        else done(new Error('The token names no key of ours.'));
      },
      algorithms: tokens.algorithms,
      issuer: tokens.issuer,
      audience: tokens.audience,
      // Expiry is decided in AccessTokens, by the injected clock.
      ignoreExpiration: true,
    });
  }

  async validate(payload: unknown): Promise<UserPrincipal | null> {
    const claims = this.tokens.currentClaims(payload);
    return claims && this.sessions.principal(claims.sid, claims.sub);
  }
}

/** Takes an API key, from `X-API-Key`. */
@Injectable()
export class ApiKeyStrategy extends PassportStrategy(HeaderAPIKeyStrategy) {
  constructor(private readonly authenticator: ApiKeyAuthenticator) {
    super({ header: 'X-API-Key', prefix: '' }, false);
  }

  /** @throws ApiError that says why the key opens nothing. */
  async validate(text: string): Promise<ApiKeyPrincipal> {
    const { state, principal } = await this.authenticator.authenticate(text);
    if (state === 'VALID') return principal;
    throw keyRefusals[state]();
  }
}

/**
 * Asks a passport strategy about a request: it reports through methods that its caller puts on a copy of it.
 * Passport itself keeps strategies per process, where two applications would take each other's.
 * @returns who the strategy found, or the error it refuses with.
 */
export function ask(strategy: object, request: WithHeaders): Promise<Principal | ApiError> {
  return new Promise((resolve, reject) => {
    const asked = Object.assign(Object.create(strategy) as { authenticate(request: WithHeaders): void }, {
      success: resolve,
      fail: () => {
        resolve(CommonErrors.invalidCredentials());
      },
      error: (error: Error) => {
        if (error instanceof ApiError) resolve(error);
        else reject(error);
      },
    });
    asked.authenticate(request);
  });
}
