import { Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { CommonErrors } from '../common/common.errors';
import type { RequestOrigin } from '../common/origin';
import { Attempts } from '../limits/attempts';
import { Audit } from '../platform/audit/audit';
import { Jobs } from '../platform/jobs/jobs';
import { Mailer } from '../platform/mail/mailer';
import { lockUser } from '../users/lock-user';
import { UserAddresses } from '../users/user-addresses';
import { UsersService } from '../users/users.service';
import { AuthErrors } from './auth.errors';
import { OneTimeTokens, type Redeemed } from './one-time-tokens';
import { TakeBack } from './take-back';

const RESEND_JOB = 'verification_resend';

/** What proves an address: the mailed token, or the address with the mailed code. */
export interface Proof {
  readonly token?: string | undefined;
  readonly email?: string | undefined;
  readonly code?: string | undefined;
}

/** Proving an e-mail address, by the mailed link or by the code that stands beside it. */
@Injectable()
export class VerificationService implements OnModuleInit {
  constructor(
    private readonly db: EntityManager,
    private readonly users: UsersService,
    private readonly addresses: UserAddresses,
    private readonly attempts: Attempts,
    private readonly oneTimeTokens: OneTimeTokens,
    private readonly takeBack: TakeBack,
    private readonly jobs: Jobs,
    private readonly mailer: Mailer,
    private readonly audit: Audit,
  ) {}

  onModuleInit(): void {
    this.jobs.handle<{ userId: string }>(RESEND_JOB, ({ userId }) => this.mailAgain(userId));
  }

  /**
   * Takes a token, or an address with its code.
   * @throws ApiError `validation_failed` when neither is there; `invalid_verification_token`, for a code also while its
   * account is locked.
   */
  async verify({ token, email, code }: Proof, origin: RequestOrigin): Promise<void> {
    if (token === undefined && email !== undefined && code !== undefined) {
      await this.verifyByCode(email, code, origin);
      return;
    }
    if (token === undefined) {
      const message = 'is required, or email and code';
      throw CommonErrors.validationFailed.with({ errors: [{ field: 'token', message }] });
    }
    await this.db.transaction(async (tx) => {
      await this.markVerified(await this.oneTimeTokens.redeem(token, 'verify_email', tx), origin, tx);
    });
  }

  /** A code is a guess like a password. Whoever locks the account by guessing cannot stop the link. */
  private async verifyByCode(email: string, code: string, origin: RequestOrigin): Promise<void> {
    const target = { email };
    if (!(await this.attempts.take(target, origin))) throw AuthErrors.invalidVerificationToken();
    await this.db.transaction(async (tx) => {
      await this.markVerified(
        await this.oneTimeTokens.redeemCode(email, code, 'verify_email', tx),
        origin,
        tx,
      );
      await this.attempts.giveBack(target, tx);
    });
  }

  /**
   * Mails a new link and code, which end the earlier ones, if there is an account that waits for it. Any other address
   * costs the same, or the answer's time would tell: a job too, which finds nothing to do.
   */
  async resend(email: string): Promise<void> {
    const userId = await this.users.idOf(email);
    await this.jobs.send(RESEND_JOB, { userId: userId ?? uuidv7() }, this.db);
  }

  /**
   * The reader of a verification mail says that he did not sign up: whatever was made in the account ends, its password
   * too. The account stays; its address is not proven.
   * @throws ApiError `invalid_verification_token`.
   */
  async disown(token: string, origin: RequestOrigin): Promise<void> {
    await this.db.transaction(async (tx) => {
      const found = await this.oneTimeTokens.redeemNotMe(token, tx);
      if (!found) throw AuthErrors.invalidVerificationToken();
      await this.takeBack.endPassword(found, tx);
      await this.addresses.markUnproven(found, tx);
      await this.takeBack.endAll(found, tx);
      const entry = { action: 'account.disowned', by: { id: null, origin }, subjectId: found } as const;
      await this.audit.record(entry, tx);
    });
  }

  private async mailAgain(userId: string): Promise<void> {
    const user = await this.users.find(userId);
    if (!user?.isActive || user.isVerified) return;
    await this.db.transaction(async (tx) => {
      await lockUser(userId, tx);
      const tokenId = await this.oneTimeTokens.issue(userId, 'verify_email', tx);
      await this.mailer.send('verify_email', { tokenId }, tx);
    });
  }

  private async markVerified(
    redeemed: Redeemed | null,
    origin: RequestOrigin,
    tx: EntityManager,
  ): Promise<void> {
    if (!redeemed) throw AuthErrors.invalidVerificationToken();
    const { userId } = redeemed;
    await this.users.markVerified(userId, tx);
    await this.audit.record({ action: 'email.verified', by: { id: userId, origin }, subjectId: userId }, tx);
  }
}
