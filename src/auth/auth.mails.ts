import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { ENV, type Env } from '../config/env';
import type { Mail } from '../platform/mail/mail';
import { type Letter, layOut } from '../platform/mail/mail-layout';
import { Mailer } from '../platform/mail/mailer';
import type { User } from '../users/user.entity';
import { UsersService } from '../users/users.service';
import { OneTimeTokens } from './one-time-tokens';
import type { TokenPurpose } from './one-time-token.entity';

type Text = Omit<Letter, 'to'>;

/**
 * The mails about accounts. Those with a link are sent with the `tokenId` of their one-time token, whose purpose is
 * their kind; the notices with a `userId`. A token stands after `#`, so it reaches no server's log.
 */
@Injectable()
export class AuthMails implements OnModuleInit {
  constructor(
    private readonly mailer: Mailer,
    private readonly users: UsersService,
    private readonly oneTimeTokens: OneTimeTokens,
    @Inject(ENV) private readonly env: Env,
  ) {}

  onModuleInit(): void {
    const { PUBLIC_URL } = this.env;
    this.link('verify_email', ({ token, code }) => verification(`${PUBLIC_URL}/verify-email`, token, code));
    this.link('reset_password', ({ token }) => passwordReset(`${PUBLIC_URL}/reset-password#token=${token}`));
    this.link('sign_up_attempt', () => signUpAttempt(PUBLIC_URL));
    this.notice('session_ended', sessionEnded(PUBLIC_URL));
    this.notice('password_changed', passwordChanged(PUBLIC_URL));
  }

  /** Not sent any more once its token was used or replaced. */
  private link(kind: TokenPurpose, write: (mailed: { token: string; code: string }) => Text): void {
    this.mailer.define(kind, async ({ tokenId }: { tokenId: string }) => {
      const found = await this.oneTimeTokens.mail(tokenId, kind);
      return found && letterTo(found.user, write(found));
    });
  }

  private notice(kind: string, text: Text): void {
    this.mailer.define(kind, async ({ userId }: { userId: string }) => {
      const user = await this.users.find(userId);
      return user && letterTo(user, text);
    });
  }
}

function letterTo({ email }: User, text: Text): Mail {
  return layOut({ ...text, to: email });
}

function verification(page: string, token: string, code: string): Text {
  return {
    subject: 'Verify your e-mail address',
    before: [
      'Welcome. Open this link within 24 hours and press the button, to show that this address is yours:',
    ],
    link: { label: 'Verify my address', url: `${page}#token=${token}` },
    after: [
      `Or type this code where you are asked for it, or at ${page}: ${code}`,
      'If you did not sign up, ignore this mail: nothing happens.',
    ],
  };
}

function passwordReset(url: string): Text {
  return {
    subject: 'Choose a new password',
    before: ['Somebody, probably you, asked for a new password. Open this link within 15 minutes:'],
    link: { label: 'Choose a new password', url },
    after: ['If it was not you, ignore this mail: your password stays as it is.'],
  };
}

/** To the owner of an address with which somebody tried to sign up again. */
function signUpAttempt(publicUrl: string): Text {
  return {
    subject: 'Somebody tried to sign up with your address',
    before: [
      `You have an account at ${publicUrl} already, with this e-mail address.`,
      'If it was you: log in with the password you have.',
      'If it was not: you need not do anything, nothing was changed.',
    ],
  };
}

/** When a refresh token came back that had been exchanged already: two parties have it. */
function sessionEnded(publicUrl: string): Text {
  return {
    subject: 'A session was ended for your safety',
    before: [
      `One of your sessions at ${publicUrl} was used from two places with the same credentials, so it was ended.`,
      'If a program of yours keeps old refresh tokens, log in again with it.',
      'If you do not know what this was: change your password. That ends all other sessions too.',
    ],
  };
}

/** After a change or a reset. */
function passwordChanged(publicUrl: string): Text {
  return {
    subject: 'Your password was changed',
    before: [
      `The password of your account at ${publicUrl} was changed, and all other sessions were ended.`,
      'If it was not you: ask for a new password at once, and look through your API keys.',
    ],
  };
}
