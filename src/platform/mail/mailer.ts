import { createHash } from 'node:crypto';
import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { Logger } from 'pino';
import type { EntityManager } from 'typeorm';
import { LOG } from '../../common/log-token';
import { Jobs } from '../jobs/jobs';
import { type Mail, MailTransport } from './mail';

/** What a mail is about: ids alone. Addresses, tokens and links are looked up or derived when it is sent. */
export type MailIds = Readonly<Record<string, string>>;

/** Writes a mail, or answers null when there is nothing to say any more: its token was used, its account is gone. */
export type MailWriter<Ids extends MailIds> = (ids: Ids) => Promise<Mail | null>;

/** A type and not an interface: only a type is taken for a record. */
type MailJob = { readonly kind: string; readonly ids: MailIds };

const JOB = 'mail';

/** Sends mail by job: in the transaction that has something to tell, at once when that commits, and until it is taken. */
@Injectable()
export class Mailer implements OnModuleInit {
  private readonly writers = new Map<string, MailWriter<MailIds>>();

  constructor(
    private readonly jobs: Jobs,
    private readonly transport: MailTransport,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  onModuleInit(): void {
    this.jobs.handle<MailJob>(JOB, (job, jobId) => this.deliver(job, jobId));
  }

  /** Says how mails of a kind are written; to be called while modules are initialised. */
  define<Ids extends MailIds>(kind: string, write: MailWriter<Ids>): void {
    if (this.writers.has(kind)) throw new Error(`The mails "${kind}" are defined already.`);
    this.writers.set(kind, write as MailWriter<MailIds>);
  }

  /** Sends a mail of a kind once `tx` has committed. */
  async send(kind: string, ids: MailIds, tx: EntityManager): Promise<void> {
    if (!this.writers.has(kind)) throw new Error(`Nobody has defined the mails "${kind}".`);
    await this.jobs.send(JOB, { kind, ids } satisfies MailJob, tx);
  }

  /** The log names neither the address nor the link. */
  private async deliver({ kind, ids }: MailJob, jobId: string): Promise<void> {
    const write = this.writers.get(kind);
    if (!write) throw new Error(`Nobody has defined the mails "${kind}".`);
    const mail = await write(ids);
    if (!mail || isNobody(mail.to)) {
      this.log.info({ kind, job_id: jobId }, 'mail not needed any more');
      return;
    }
    await this.transport.deliver(mail, jobId);
    const to = createHash('sha256').update(mail.to).digest('hex').slice(0, 12);
    this.log.info({ kind, job_id: jobId, to, subject: mail.subject }, 'mail sent');
  }
}

/** No mail reaches a name below `.invalid` (RFC 2606, 2), such as the one an erased account is given. */
function isNobody(address: string): boolean {
  return address.endsWith('.invalid');
}
