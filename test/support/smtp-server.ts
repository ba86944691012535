import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import PostalMime, { type Email } from 'postal-mime';
import { SMTPServer, type SMTPServerSession } from 'smtp-server';

/** A mail as a real server received it. */
export interface ReceivedMail {
  /** The envelope's sender and recipients. */
  readonly from: string;
  readonly recipients: readonly string[];
  /** As it came over the wire. */
  readonly raw: string;
  readonly parsed: Email;
}

/** A mail server on the loopback interface that keeps what it takes. */
export class SmtpServer {
  readonly received: ReceivedMail[] = [];
  /** Decides over each mail at the end of its data: a text is the refusal that is answered. */
  refuse: (mail: ReceivedMail) => string | undefined | Promise<string | undefined> = () => undefined;
  private server: SMTPServer | undefined;
  private port = 0;

  /** What SMTP_URL is; the port stays the same when the server is started again. */
  get url(): string {
    return `smtp://127.0.0.1:${this.port}`;
  }

  async start(): Promise<this> {
    const server = new SMTPServer({
      authOptional: true,
      hideSTARTTLS: true,
      onData: (stream, session, done) => {
        buffer(stream)
          .then((raw) => this.take(raw, session))
          .then((refusal) => {
            done(refusal === undefined ? null : Object.assign(new Error(refusal), { responseCode: 451 }));
          })
          .catch(done);
      },
    });
    this.server = server;
    // Its clients may be killed in the middle of a mail.
    server.on('error', () => undefined);
    server.listen(this.port, '127.0.0.1');
    await once(server.server, 'listening');
    this.port = (server.server.address() as AddressInfo).port;
    return this;
  }

  async stop(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    if (!server) return;
    await new Promise<void>((resolve) => {
      server.close(resolve);
    });
  }

  /** The mails that were taken for one address. */
  to(address: string): ReceivedMail[] {
    return this.received.filter(({ recipients }) => recipients.includes(address));
  }

  private async take(raw: Buffer, { envelope }: SMTPServerSession): Promise<string | undefined> {
    const mail = {
      from: envelope.mailFrom === false ? '' : envelope.mailFrom.address,
      recipients: envelope.rcptTo.map(({ address }) => address),
      raw: raw.toString('latin1'),
      parsed: await PostalMime.parse(raw),
    };
    const refusal = await this.refuse(mail);
    if (refusal === undefined) this.received.push(mail);
    return refusal;
  }
}
