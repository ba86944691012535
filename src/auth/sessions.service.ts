import { Injectable } from '@nestjs/common';
import { EntityManager, In, MoreThan, Not } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Clock } from '../common/clock';
import type { RequestOrigin } from '../common/origin';
import type { UserPrincipal } from '../common/principal';
import { Audit } from '../platform/audit/audit';
import { OneSecondCache } from '../platform/cache/one-second-cache';
import { type Sql, sql } from '../platform/database/one-statement';
import { Mailer } from '../platform/mail/mailer';
import { lockForSession } from '../users/lock-user';
import type { User } from '../users/user.entity';
import { AuthErrors } from './auth.errors';
import { OneTimeTokens } from './one-time-tokens';
import { RefreshTokens } from './refresh-tokens';
import { Session, sessionHorizons } from './session.entity';

/** Two tabs that refresh at once, or a client that lost an answer, get the same successor for so long. */
const GRACE_MS = 10_000;

/** An account that has so many gets another one in the place of the oldest. */
const SESSIONS_MAX = 100;

/** A session's next refresh token. */
export interface Refreshed {
  readonly userId: string;
  readonly sessionId: string;
  readonly refreshToken: string;
}

/** A session that is yet to be opened, by these effects. */
interface Opening {
  readonly session: Refreshed;
  readonly effects: readonly Sql[];
}

/** A refresh: the next token, or the sign that somebody else has used this one. */
export type RefreshOutcome = Refreshed | { readonly reusedBy: string };

/** A session as AuthGuard asks about it. */
interface KnownSession {
  readonly principal: UserPrincipal;
  readonly isActive: boolean;
}

@Injectable()
export class SessionsService {
  private readonly known: OneSecondCache<KnownSession>;

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly refreshTokens: RefreshTokens,
    private readonly oneTimeTokens: OneTimeTokens,
    private readonly mailer: Mailer,
    private readonly audit: Audit,
  ) {
    this.known = new OneSecondCache(
      (ids) => this.readKnown(ids),
      () => clock.nowMs(),
    );
  }

  /**
   * A session for a user who has just proven himself, and the parts of a statement (`changeAtOnce`) that open it and end
   * the ones he has not used for the longest time, when he has 100 already. The statement sees the sessions as they were
   * when it began, before it waited for others: what log-ins of the same moment are too many the next one ends.
   * @param hasSecondFactor whether he gave a second factor, too.
   */
  opening(userId: string, origin: RequestOrigin, hasSecondFactor: boolean): Opening {
    const now = this.clock.now();
    const sessionId = uuidv7();
    const secondFactorAt = hasSecondFactor ? now : null;
    const effects = [
      sql`
        DELETE FROM sessions USING (
          SELECT id, last_used_at FROM sessions WHERE user_id = ${userId}
          ORDER BY last_used_at DESC, id DESC OFFSET ${SESSIONS_MAX - 1}) AS oldest
        WHERE (sessions.id, sessions.last_used_at) = (oldest.id, oldest.last_used_at)
          AND EXISTS (SELECT FROM condition)`,
      sql`
        INSERT INTO sessions (id, user_id, created_at, last_used_at, second_factor_at, ip_address, user_agent)
        SELECT ${sessionId}, ${userId}, ${now}, ${now}, ${secondFactorAt}, ${origin.ip}, ${origin.userAgent}
        WHERE EXISTS (SELECT FROM condition)`,
    ];
    const refreshToken = this.refreshTokens.write({ sessionId, generation: 0 });
    return { session: { userId, sessionId, refreshToken }, effects };
  }

  /**
   * Exchanges a refresh token for its successor, in one statement, so of parallel tries one rotates. The immediate
   * predecessor gets the same successor for ten seconds, while that is unused; whatever is older was used twice, by
   * the user and by somebody else, and ends the session.
   * @throws ApiError `invalid_refresh_token` when it is not a token, or its session is over.
   */
  async refresh(token: string, origin: RequestOrigin): Promise<RefreshOutcome> {
    const name = this.refreshTokens.read(token);
    if (!name) throw AuthErrors.invalidRefreshToken();
    const { sessionId, generation } = name;
    const now = this.clock.now();
    const { madeAfter, usedAfter } = sessionHorizons(now);
    const live = { id: sessionId, createdAt: MoreThan(madeAfter), lastUsedAt: MoreThan(usedAfter) };

    const { affected } = await this.db.update(
      Session,
      { ...live, generation },
      {
        generation: generation + 1,
        rotatedAt: now,
        lastUsedAt: now,
        ipAddress: origin.ip,
        userAgent: origin.userAgent,
      },
    );
    const session = await this.db.findOne(Session, { where: live, relations: { user: true } });
    if (!session?.user?.isActive) throw AuthErrors.invalidRefreshToken();

    const isSuccessor = session.generation === generation + 1;
    const isInGrace = session.rotatedAt !== null && now.getTime() - session.rotatedAt.getTime() <= GRACE_MS;
    if (affected === 0 && !(isSuccessor && isInGrace)) {
      // Of several that notice, the one that ends the session tells the user.
      if (await this.endReused(session, origin)) return { reusedBy: session.userId };
      throw AuthErrors.invalidRefreshToken();
    }
    return {
      userId: session.userId,
      sessionId,
      refreshToken: this.refreshTokens.write({ sessionId, generation: generation + 1 }),
    };
  }

  /** Who a session belongs to, or null when it has ended or its user is suspended; at most a second behind the database. */
  async principal(sessionId: string, userId: string): Promise<UserPrincipal | null> {
    const session = await this.known.get(sessionId);
    return session?.isActive && session.principal.userId === userId ? session.principal : null;
  }

  /** The same as the database has it now. */
  principalAnew(sessionId: string, userId: string): Promise<UserPrincipal | null> {
    this.known.evict(sessionId);
    return this.principal(sessionId, userId);
  }

  /** The sessions of a user that are not over, last used first; seldom more than 100. */
  list(userId: string): Promise<Session[]> {
    const { madeAfter, usedAfter } = sessionHorizons(this.clock.now());
    return this.db.find(Session, {
      where: { userId, createdAt: MoreThan(madeAfter), lastUsedAt: MoreThan(usedAfter) },
      order: { lastUsedAt: 'DESC', id: 'DESC' },
    });
  }

  /** Ends a session, for its user. @returns whether he had it. */
  async end(userId: string, sessionId: string, origin: RequestOrigin): Promise<boolean> {
    const isEnded = await this.db.transaction(async (tx) => {
      const { affected } = await tx.delete(Session, { id: sessionId, userId });
      if (affected !== 1) return false;
      await this.record('session.ended', userId, origin, tx, sessionId);
      return true;
    });
    this.known.evict(sessionId);
    return isEnded;
  }

  /**
   * Ends all sessions of a user but the one he asks from, and a change of his address that waits to be confirmed: one of
   * the others may have asked for it.
   * @throws ApiError `invalid_token` when the session has ended meanwhile.
   */
  async endOthers(principal: UserPrincipal, origin: RequestOrigin): Promise<void> {
    const { userId, sessionId } = principal;
    await this.db.transaction(async (tx) => {
      await lockForSession(principal, tx);
      await this.endAll(userId, sessionId, tx);
      await this.oneTimeTokens.endAll(userId, tx, ['change_email']);
      await this.record('sessions.ended_others', userId, origin, tx);
    });
    this.forget(userId);
  }

  /** Ends all sessions of a user, but the one he may go on with. Call {@link forget} after the commit. */
  async endAll(userId: string, exceptSessionId: string | null, tx: EntityManager): Promise<void> {
    await tx.delete(Session, { userId, ...(exceptSessionId !== null && { id: Not(exceptSessionId) }) });
  }

  /** Notes that a second factor was given in a session just now; after the commit call {@link forget}. */
  async noteSecondFactor(sessionId: string, tx: EntityManager): Promise<void> {
    await tx.update(Session, { id: sessionId }, { secondFactorAt: this.clock.now() });
  }

  /** Makes this process ask the database about a user's sessions again: after the commit of a change to him or them. */
  forget(userId: string): void {
    this.known.evictWhere(({ principal }) => principal.userId === userId);
  }

  /** Ends a session that two parties use, and tells its user. @returns whether it was there. */
  private async endReused({ id, userId }: Session, origin: RequestOrigin): Promise<boolean> {
    const isEnded = await this.db.transaction(async (tx) => {
      const { affected } = await tx.delete(Session, { id, userId });
      if (affected !== 1) return false;
      // Whoever sent the token may be its thief: it is not said that the user did it.
      const entry = { action: 'refresh.reuse', by: { id: null, origin }, result: 'failure' } as const;
      await this.audit.record({ ...entry, subjectId: userId, targetId: id }, tx);
      await this.mailer.send('session_ended', { userId }, tx);
      return true;
    });
    this.known.evict(id);
    return isEnded;
  }

  private record(
    action: 'session.ended' | 'sessions.ended_others',
    userId: string,
    origin: RequestOrigin,
    tx: EntityManager,
    targetId?: string,
  ): Promise<void> {
    const by = { id: userId, origin };
    return this.audit.record({ action, by, subjectId: userId, ...(targetId && { targetId }) }, tx);
  }

  private async readKnown(ids: readonly string[]): Promise<Map<string, KnownSession>> {
    const { madeAfter, usedAfter } = sessionHorizons(this.clock.now());
    const sessions = await this.db.find(Session, {
      where: { id: In([...ids]), createdAt: MoreThan(madeAfter), lastUsedAt: MoreThan(usedAfter) },
      relations: { user: true },
    });
    return new Map(
      sessions.flatMap((session) =>
        session.user ? [[session.id, knownSession(session, session.user)]] : [],
      ),
    );
  }
}

function knownSession({ id, userId, secondFactorAt }: Session, user: User): KnownSession {
  const { isActive, role, tier, twoFactorEnabled } = user;
  return {
    isActive,
    principal: { kind: 'user', userId, sessionId: id, role, tier, twoFactorEnabled, secondFactorAt },
  };
}
