import { createHash } from 'node:crypto';
import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOG } from '../../common/log-token';
import { type Mail, MailTransport } from './mail';

/** Sends mail behind the answer: a slow or absent mail server delays nobody, and the answer's time tells nothing. */
@Injectable()
export class Mailer implements OnApplicationShutdown {
  private readonly underway = new Set<Promise<void>>();

  constructor(
    private readonly transport: MailTransport,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  /** Hands a mail over and returns at once; a failure is logged. The log names neither the address nor the link. */
  send(mail: Mail): void {
    const line = {
      to: createHash('sha256').update(mail.to).digest('hex').slice(0, 12),
      subject: mail.subject,
    };
    const delivery = this.transport
      .deliver(mail)
      .then(
        () => {
          this.log.info(line, 'mail sent');
        },
        (error: unknown) => {
          this.log.error({ ...line, err: error }, 'mail not sent');
        },
      )
      .finally(() => this.underway.delete(delivery));
    this.underway.add(delivery);
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all(this.underway);
  }
}
