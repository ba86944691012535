/** A mail to be sent; the sender is the service's own. */
export interface Mail {
  /** One address, in canonical form. */
  readonly to: string;
  readonly subject: string;
  /** Plain text, a link on a line of its own. */
  readonly text: string;
  /** The same for programs that show HTML: a whole page. */
  readonly html: string;
}

/** Takes mails to wherever they go. */
export abstract class MailTransport {
  /**
   * Resolves once somebody else is responsible for the mail.
   * @param id the same whenever the same mail is sent again, so that its receiver can tell.
   * @throws Error when it was not taken; its message quotes neither the address nor the text.
   */
  abstract deliver(mail: Mail, id: string): Promise<void>;
}
