import { Inject, Injectable } from '@nestjs/common';
import { createTransport } from 'nodemailer';
import { ENV, type Env } from '../../config/env';
import { type Mail, MailTransport } from './mail';

const TIMEOUT_MS = 10_000;

/** Sends mail through the server of `SMTP_URL`. */
@Injectable()
export class SmtpTransport extends MailTransport {
  private readonly smtp;

  constructor(@Inject(ENV) env: Env) {
    super();
    this.smtp = createTransport(
      {
        url: env.SMTP_URL,
        connectionTimeout: TIMEOUT_MS,
        greetingTimeout: TIMEOUT_MS,
        socketTimeout: TIMEOUT_MS,
      },
      { from: env.MAIL_FROM ?? 'Cortex Auth <no-reply@localhost>' },
    );
  }

  /** @throws Error when the server does not take the mail. */
  async deliver({ to, subject, text }: Mail): Promise<void> {
    // An address object is never parsed as a list, so one mail has one recipient.
    await this.smtp.sendMail({ to: { name: '', address: to }, subject, text });
  }
}
