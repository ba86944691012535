import { Inject, Injectable } from '@nestjs/common';
import { createTransport } from 'nodemailer';
import { ENV, type Env } from '../../config/env';
import { type Mail, MailTransport } from './mail';

const CONNECT_TIMEOUT_MS = 10_000;
/** Generous, for a mail that was taken while nobody waited any longer is sent twice. */
const ANSWER_TIMEOUT_MS = 60_000;
const FROM_DEFAULT = 'Cortex Auth <no-reply@localhost>';

/** Why a mail server did not take a mail. */
export class MailNotTakenError extends Error {
  override name = 'MailNotTakenError';
}

/** Sends mail through the server of `SMTP_URL`. */
@Injectable()
export class SmtpTransport extends MailTransport {
  private readonly smtp;
  private readonly domain: string;

  constructor(@Inject(ENV) env: Env) {
    super();
    const from = env.MAIL_FROM ?? FROM_DEFAULT;
    this.domain = /@([^\s>]+)>?$/.exec(from)?.[1] ?? 'localhost';
    this.smtp = createTransport(
      {
        url: env.SMTP_URL,
        connectionTimeout: CONNECT_TIMEOUT_MS,
        greetingTimeout: CONNECT_TIMEOUT_MS,
        socketTimeout: ANSWER_TIMEOUT_MS,
        disableFileAccess: true,
        disableUrlAccess: true,
      },
      // RFC 3834: no vacation notice answers a mail that says so.
      { from, headers: { 'Auto-Submitted': 'auto-generated' } },
    );
  }

  /** @throws MailNotTakenError */
  async deliver({ to, subject, text, html }: Mail, id: string): Promise<void> {
    try {
      await this.smtp.sendMail({
        // An address object is never parsed as a list, so one mail has one recipient.
        to: { name: '', address: to },
        subject,
        text,
        html,
        messageId: `<${id}@${this.domain}>`,
      });
    } catch (error) {
      throw new MailNotTakenError(explain(error as SmtpFault));
    }
  }
}

interface SmtpFault extends Error {
  readonly code?: string;
  readonly command?: string;
  readonly response?: string;
}

/** A server's own words may quote the address or the link: of them only the codes are kept (RFC 5321, RFC 3463). */
function explain({ message, code, command, response }: SmtpFault): string {
  if (response === undefined) return message;
  const [codes = 'no code'] = /^\d{3}([ -]\d\.\d{1,3}\.\d{1,3})?/.exec(response) ?? [];
  return `the mail server answered ${codes} to ${command ?? 'the connection'} (${code ?? 'unknown'})`;
}
