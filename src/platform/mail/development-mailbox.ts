import { Injectable } from '@nestjs/common';
import { Clock } from '../../common/clock';
import { type Mail, MailTransport } from './mail';

const MAILS_MAX = 100;

/** A mail kept for the developer to read. */
export interface KeptMail extends Mail {
  readonly sentAt: Date;
}

/** Development without a mail server: the last 100 mails, in memory only, read at `/dev/mailbox`. */
@Injectable()
export class DevelopmentMailbox extends MailTransport {
  private readonly kept: KeptMail[] = [];

  constructor(private readonly clock: Clock) {
    super();
  }

  deliver(mail: Mail): Promise<void> {
    this.kept.unshift({ ...mail, sentAt: this.clock.now() });
    this.kept.length = Math.min(this.kept.length, MAILS_MAX);
    return Promise.resolve();
  }

  /** The kept mails, newest first. */
  mails(): readonly KeptMail[] {
    return this.kept;
  }
}
