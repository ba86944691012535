import { randomBytes } from 'node:crypto';
import type { INestApplication } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { ApiKey } from '../../src/api-keys/api-key.entity';
import { addVersion } from '../../src/api-keys/api-key-versions';
import { generateApiKey } from '../../src/api-keys/api-key-secret';
import { AccessTokens } from '../../src/auth/access-tokens';
import { SessionsService } from '../../src/auth/sessions.service';
import type { Clock } from '../../src/common/clock';
import { ALWAYS, changeAtOnce } from '../../src/platform/database/one-statement';
import { User } from '../../src/users/user.entity';

/** The password of every made user, and its hash: hashing for each of them would bound the suite. */
export const PASSWORD = 'correct horse battery';
const PASSWORD_HASH =
  '$argon2id$v=19$m=1024,p=1,t=2$EZulOjotrFSwVhDgIy/Q4Q$kRywnZmpztz2RD18R0LHwdoj0sjkC5hwRXiVok9PE7w';

/** A user who is logged in; `token` is his access token. */
export type MadeUser = User & { token: string; sessionId: string; refreshToken: string };

/** Saves valid rows; a test names only the fields it is about. */
export class Factory {
  constructor(
    private readonly app: INestApplication,
    private readonly db: EntityManager,
    private readonly clock: Clock,
  ) {}

  /** An address nobody else has. */
  email(): string {
    return `user-${randomBytes(6).toString('hex')}@example.com`;
  }

  /** A user who is logged in; `token` is his access token. */
  async user(fields: Partial<User> = {}): Promise<MadeUser> {
    const now = this.clock.now();
    const user = Object.assign(new User(), {
      id: uuidv7(),
      email: this.email(),
      passwordHash: PASSWORD_HASH,
      firstName: null,
      lastName: null,
      company: null,
      role: 'user',
      isActive: true,
      isVerified: true,
      twoFactorEnabled: false,
      billingTier: 'free',
      tierOverride: null,
      monthlyBudgetUsd: null,
      createdAt: now,
      updatedAt: now,
      lastLogin: null,
      ...fields,
    });
    await this.db.insert(User, user);
    const { sessionId, refreshToken } = await this.session(user.id);
    return Object.assign(user, { token: this.accessToken(user.id, sessionId), sessionId, refreshToken });
  }

  /** An access token of a session, made now. */
  accessToken(userId: string, sessionId: string): string {
    return this.app.get(AccessTokens, { strict: false }).sign(userId, sessionId);
  }

  /** A further session of a user. */
  async session(userId: string): Promise<{ sessionId: string; refreshToken: string }> {
    const origin = { requestId: uuidv7(), ip: '192.0.2.1', userAgent: 'factory' };
    const { session, effects } = this.app
      .get(SessionsService, { strict: false })
      .opening(userId, origin, false);
    await changeAtOnce(this.db, ALWAYS, effects);
    return session;
  }

  /** An API key; `key` is the key itself. Without `userId` its owner is new. */
  async apiKey(fields: Partial<ApiKey> = {}): Promise<ApiKey & { key: string }> {
    const secret = generateApiKey(fields.environment ?? 'live');
    const userId = fields.userId ?? (await this.user()).id;
    const apiKey = Object.assign(new ApiKey(), {
      id: uuidv7(),
      name: 'test',
      environment: 'live',
      isActive: true,
      permissions: {},
      servicePermissions: [],
      allowedIps: [],
      rateLimitPerMinute: 100,
      monthlyBudgetUsd: null,
      metadata: {},
      createdAt: this.clock.now(),
      lastUsed: null,
      expiresAt: null,
      compromisedAt: null,
      leakUrl: null,
      ...fields,
      userId,
    });
    await this.db.insert(ApiKey, apiKey);
    await addVersion(apiKey.id, secret, apiKey.createdAt, this.db);
    return Object.assign(apiKey, { key: secret.key });
  }
}
