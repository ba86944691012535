import type { KeyObject } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { JwtService } from '@nestjs/jwt';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { Clock } from '../common/clock';
import { ENV, type Env } from '../config/env';
import type { Refreshed } from './sessions.service';
import { type SigningKey, signingKeys } from './signing-keys';

/** RFC 9068, 2.1: tells an access token from every other JWT. */
const TOKEN_TYPE = 'at+jwt';
/** How far the clocks of our own processes may differ. */
const LEEWAY_SECONDS = 5;

const headerSchema = z.strictObject({ alg: z.string(), typ: z.literal(TOKEN_TYPE), kid: z.string() });

const claimsSchema = z.object({
  iss: z.string(),
  aud: z.string(),
  sub: z.uuid(),
  sid: z.uuid(),
  jti: z.string(),
  iat: z.number().int(),
  exp: z.number().int(),
});

/** What an access token says. */
export type AccessTokenClaims = z.infer<typeof claimsSchema>;

/** What opens the API for a while. */
export interface Tokens {
  readonly accessToken: string;
  readonly expiresInSeconds: number;
  readonly refreshToken: string;
}

/** Access tokens: JWTs of RFC 9068 in form, signed with the first of {@link signingKeys}, named by `kid`. */
@Injectable()
export class AccessTokens {
  readonly issuer: string;
  readonly audience: string;
  readonly lifeSeconds: number;
  /** What a verifier may meet at most; which one a token needs, its key says. */
  readonly algorithms: SigningKey['algorithm'][];
  private readonly keys: readonly [SigningKey, ...SigningKey[]];

  constructor(
    @Inject(ENV) env: Env,
    private readonly clock: Clock,
    private readonly jwt: JwtService,
  ) {
    this.issuer = env.PUBLIC_URL;
    this.audience = `${env.PUBLIC_URL}/api/v1`;
    this.lifeSeconds = env.ACCESS_TOKEN_EXPIRE_MINUTES * 60;
    this.keys = signingKeys(env);
    this.algorithms = [...new Set(this.keys.map(({ algorithm }) => algorithm))];
  }

  /** A token for a user's session, for {@link lifeSeconds} from now. */
  sign(userId: string, sessionId: string): string {
    const iat = this.nowSeconds();
    const claims: AccessTokenClaims = {
      iss: this.issuer,
      aud: this.audience,
      sub: userId,
      sid: sessionId,
      jti: uuidv7(),
      iat,
      exp: iat + this.lifeSeconds,
    };
    const [{ kid, algorithm, signWith }] = this.keys;
    return this.jwt.sign(claims, {
      privateKey: signWith,
      algorithm,
      header: { alg: algorithm, typ: TOKEN_TYPE, kid },
    });
  }

  /** The tokens of a session that was opened or refreshed just now. */
  grant({ userId, sessionId, refreshToken }: Refreshed): Tokens {
    return {
      accessToken: this.sign(userId, sessionId),
      expiresInSeconds: this.lifeSeconds,
      refreshToken,
    };
  }

  /** The key that a token's header names, or null when the header is not one of ours; nothing in it is fetched or followed. */
  keyFor(token: string): KeyObject | null {
    const header = headerSchema.safeParse(decodeSegment(token));
    if (!header.success) return null;
    const { kid, alg } = header.data;
    const key = this.keys.find((candidate) => candidate.kid === kid && candidate.algorithm === alg);
    return key?.verifyWith ?? null;
  }

  /** The keys that others may verify with. */
  publicKeys(): object[] {
    return this.keys.flatMap(({ jwk }) => jwk ?? []);
  }

  /** The claims of a verified token, or null when one is missing or the token is not valid at this moment. */
  currentClaims(payload: unknown): AccessTokenClaims | null {
    const claims = claimsSchema.safeParse(payload);
    if (!claims.success) return null;
    const now = this.nowSeconds();
    const { exp, iat } = claims.data;
    return exp > now && iat <= now + LEEWAY_SECONDS ? claims.data : null;
  }

  private nowSeconds(): number {
    return Math.floor(this.clock.nowMs() / 1_000);
  }
}

function decodeSegment(token: string): unknown {
  try {
    return JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
}
