import { createHash } from 'node:crypto';
import { Inject, Injectable, type BeforeApplicationShutdown } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOG } from '../../common/log-token';
import { type Mail, MailTransport } from './mail';

/** Sends mail behind the answer: a slow or absent mail server delays nobody, and the answer's time tells nothing. */
@Injectable()
export class Mailer implements BeforeApplicationShutdown {
  private readonly underway = new Set<Promise<void>>();

  constructor(
    private readonly transport: MailTransport,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  /** Hands a mail over and returns at once; a failure is logged. */
  send(mail: Mail): void {
    this.compose(() => Promise.resolve(mail));
  }

  /**
   * Makes a mail behind the answer and sends it.
   * @param build gives the mail, or null when there is nothing to say.
   */
  compose(build: () => Promise<Mail | null>): void {
    const delivery = this.deliver(build).finally(() => this.underway.delete(delivery));
    this.underway.add(delivery);
  }

  /** Resolves once every mail that was handed over is sent, or has failed. */
  async idle(): Promise<void> {
    while (this.underway.size > 0) await Promise.all(this.underway);
  }

  /** Before the database closes: a mail may still have to be looked up. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.idle();
  }

  /** The log names neither the address nor the link. */
  private async deliver(build: () => Promise<Mail | null>): Promise<void> {
    try {
      const mail = await build();
      if (!mail) return;
      await this.transport.deliver(mail);
      const to = createHash('sha256').update(mail.to).digest('hex').slice(0, 12);
      this.log.info({ to, subject: mail.subject }, 'mail sent');
    } catch (error) {
      this.log.error({ err: error }, 'mail not sent');
    }
  }
}
