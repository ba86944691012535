/** A mail to be sent; the sender is the service's own. */
export interface Mail {
  /** One address, in canonical form. */
  readonly to: string;
  readonly subject: string;
  /** Plain text, a link on a line of its own. */
  readonly text: string;
}

/** Takes mails to wherever they go. */
export abstract class MailTransport {
  abstract deliver(mail: Mail): Promise<void>;
}
