import { Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { ApiKeysService } from '../api-keys/api-keys.service';
import { OneTimeTokens } from '../auth/one-time-tokens';
import { PasswordProof } from '../auth/password-proof';
import { AuthErrors } from '../auth/auth.errors';
import { SessionsService } from '../auth/sessions.service';
import { BillingErasure } from '../billing/billing-erasure';
import type { RequestOrigin } from '../common/origin';
import type { UserPrincipal } from '../common/principal';
import { Attempts } from '../limits/attempts';
import { Audit } from '../platform/audit/audit';
import { STATEMENT_MS_MAX, withStatementLimit } from '../platform/database/statement-limits';
import { Idempotency } from '../platform/idempotency/idempotency';
import { Jobs } from '../platform/jobs/jobs';
import { TwoFactorService } from '../two-factor/two-factor.service';
import { lockForSession } from '../users/lock-user';
import { UsersService } from '../users/users.service';
import { AccountMails } from './account.mails';

const CALLS_JOB = 'erase_calls';
/** Calls that are under way, and reports from memory, leave their lines after the first pass. */
const SECOND_PASS_SECONDS = 3_600;
const BATCH = 1_000;

/** The personal columns of some lines of the ledger; tokens, prices and times stay. The index finds them by their time. */
const ERASE_SQL = `
  WITH batch AS (
    SELECT id, created_at FROM usage_logs
    WHERE user_id = $1 AND created_at >= $2
      AND (ip_address IS NOT NULL OR user_agent IS NOT NULL OR metadata <> '{}')
    ORDER BY created_at LIMIT ${BATCH}
  ), erased AS (
    UPDATE usage_logs SET ip_address = NULL, user_agent = NULL, metadata = '{}'
    FROM batch
    WHERE usage_logs.user_id = $1 AND usage_logs.id = batch.id AND usage_logs.created_at = batch.created_at
  )
  SELECT max(created_at) AS until FROM batch`;

@Injectable()
export class AccountErasureService implements OnModuleInit {
  constructor(
    private readonly db: EntityManager,
    private readonly passwords: PasswordProof,
    private readonly users: UsersService,
    private readonly sessions: SessionsService,
    private readonly apiKeys: ApiKeysService,
    private readonly twoFactor: TwoFactorService,
    private readonly oneTimeTokens: OneTimeTokens,
    private readonly attempts: Attempts,
    private readonly idempotency: Idempotency,
    private readonly billing: BillingErasure,
    private readonly audit: Audit,
    private readonly mails: AccountMails,
    private readonly jobs: Jobs,
  ) {}

  onModuleInit(): void {
    this.jobs.handle<{ userId: string }>(CALLS_JOB, ({ userId }) => this.eraseCalls(userId));
  }

  /**
   * Takes everything personal out of an account and ends it, for good: its sessions, keys and tokens open nothing any
   * more, its address is free. What was used and what it cost stays, of nobody.
   * @throws ApiError `wrong_password`, also while the account is locked; `invalid_token` when the session has ended
   * meanwhile.
   */
  async erase(principal: UserPrincipal, password: string, origin: RequestOrigin): Promise<void> {
    const { userId } = principal;
    const { email, passwordHash } = await this.passwords.ask(userId, password, origin);
    const eraseAll = async (tx: EntityManager): Promise<void> => {
      await lockForSession(principal, tx);
      if (!(await this.users.erase(userId, passwordHash, tx))) throw AuthErrors.wrongPassword();
      await this.sessions.endAll(userId, null, tx);
      await this.apiKeys.eraseAll(userId, tx);
      await this.twoFactor.erase(userId, tx);
      await this.oneTimeTokens.eraseAll(userId, tx);
      await this.attempts.clear({ email }, tx);
      await this.billing.erase(userId, tx);
      await this.audit.erasePersonal(userId, tx);
      // Where he was when he left is personal as well.
      await this.audit.record(
        { action: 'user.erased', by: { id: userId, origin: null }, subjectId: userId },
        tx,
      );
      await this.jobs.eraseEnded(userId, tx);
      await this.jobs.send(CALLS_JOB, { userId }, tx);
      await this.jobs.send(CALLS_JOB, { userId }, tx, SECOND_PASS_SECONDS);
      await this.mails.sendFarewell(userId, email, tx);
      // Last: calls that are under way wait for these rows.
      await this.idempotency.eraseAll(userId, tx);
    };
    // Who has much takes long to erase.
    await withStatementLimit(STATEMENT_MS_MAX, () => this.db.transaction(eraseAll));
    this.sessions.forget(userId);
    this.apiKeys.forget(userId);
  }

  /** In small transactions: there may be millions. */
  private async eraseCalls(userId: string): Promise<void> {
    let from: Date | null = new Date(0);
    while (from) {
      const rows: { until: Date | null }[] = await this.db.query(ERASE_SQL, [userId, from]);
      from = rows[0]?.until ?? null;
    }
  }
}
