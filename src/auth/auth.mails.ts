import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { ENV, type Env } from '../config/env';
import type { Mail } from '../platform/mail/mail';
import { layOut } from '../platform/mail/mail-layout';
import { Mailer } from '../platform/mail/mailer';
import { OneTimeTokens } from './one-time-tokens';

/** The mails about accounts: each kind, and what it says. A token stands after `#`, so it reaches no server's log. */
@Injectable()
export class AuthMails implements OnModuleInit {
  constructor(
    private readonly mailer: Mailer,
    private readonly oneTimeTokens: OneTimeTokens,
    @Inject(ENV) private readonly env: Env,
  ) {}

  onModuleInit(): void {
    this.mailer.define('verify_email', ({ tokenId }: { tokenId: string }) => this.verification(tokenId));
    this.mailer.define('sign_up_attempt', ({ tokenId }: { tokenId: string }) => this.signUpAttempt(tokenId));
  }

  /** Lets the owner prove an address. */
  private async verification(tokenId: string): Promise<Mail | null> {
    const found = await this.oneTimeTokens.find(tokenId, 'verify_email');
    return (
      found &&
      layOut({
        to: found.user.email,
        subject: 'Verify your e-mail address',
        before: [
          'Welcome. Open this link within 24 hours and press the button, to show that this address is yours:',
        ],
        link: { label: 'Verify my address', url: `${this.env.PUBLIC_URL}/verify-email#token=${found.token}` },
        after: ['If you did not sign up, ignore this mail: nothing happens.'],
      })
    );
  }

  /** Tells the owner of an address that somebody tried to sign up with it again; of several that wait, the last one. */
  private async signUpAttempt(tokenId: string): Promise<Mail | null> {
    const found = await this.oneTimeTokens.find(tokenId, 'sign_up_attempt');
    return (
      found &&
      layOut({
        to: found.user.email,
        subject: 'Somebody tried to sign up with your address',
        before: [
          `You have an account at ${this.env.PUBLIC_URL} already, with this e-mail address.`,
          'If it was you: log in with the password you have.',
          'If it was not: you need not do anything, nothing was changed.',
        ],
      })
    );
  }
}
