import { Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { Attempts, LOCK_JOB, type LockJob } from '../limits/attempts';
import { Audit } from '../platform/audit/audit';
import { Jobs } from '../platform/jobs/jobs';
import { Mailer } from '../platform/mail/mailer';
import { UsersService } from '../users/users.service';

/** Tells an owner, once per lock, that guesses have locked his account. */
@Injectable()
export class LockNotices implements OnModuleInit {
  constructor(
    private readonly db: EntityManager,
    private readonly users: UsersService,
    private readonly attempts: Attempts,
    private readonly jobs: Jobs,
    private readonly mailer: Mailer,
    private readonly audit: Audit,
  ) {}

  onModuleInit(): void {
    this.jobs.handle<LockJob>(LOCK_JOB, (job) => this.tell(job));
  }

  private async tell({ key, userId, origin }: LockJob): Promise<void> {
    const user = await this.users.find(userId);
    if (!user?.isActive) return;
    await this.db.transaction(async (tx) => {
      if (!(await this.attempts.claimNotice(key, tx))) return;
      const entry = { action: 'account.locked', by: { id: null, origin }, subjectId: userId } as const;
      await this.audit.record({ ...entry, result: 'failure' }, tx);
      await this.mailer.send('account_locked', { userId }, tx);
    });
  }
}
