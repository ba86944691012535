import type { Letter } from '../platform/mail/mail-layout';
import type { MailedToken } from './one-time-tokens';

/** A letter without its address. */
export type Text = Omit<Letter, 'to'>;

/** What the mails about accounts say. A token stands after `#`, so it reaches no server's log. */
export class AuthLetters {
  /**
   * @param serviceName what the service is called.
   * @param publicUrl where all links lead.
   */
  constructor(
    private readonly serviceName: string,
    private readonly publicUrl: string,
  ) {}

  verification({ token, code, notMeToken }: Pick<MailedToken, 'token' | 'code' | 'notMeToken'>): Text {
    const page = `${this.publicUrl}/verify-email`;
    return {
      subject: 'Verify your e-mail address',
      before: [
        `Welcome to ${this.serviceName}. Open this link within 24 hours and press the button, to show that this address is yours:`,
      ],
      link: { label: 'Verify my address', url: `${page}#token=${token}` },
      after: [
        `Or type this code where you are asked for it, or at ${page}: ${code}`,
        'If you did not sign up, you can shut out whoever did, also later:',
        `${this.publicUrl}/not-me#token=${notMeToken}`,
      ],
    };
  }

  passwordReset(token: string): Text {
    return {
      subject: 'Choose a new password',
      before: ['Somebody, probably you, asked for a new password. Open this link within 15 minutes:'],
      link: { label: 'Choose a new password', url: `${this.publicUrl}/reset-password#token=${token}` },
      after: ['If it was not you, ignore this mail: your password stays as it is.'],
    };
  }

  /** After a change of the address was undone. */
  changeUndone(token: string): Text {
    return {
      subject: 'You have your account back: choose a new password',
      before: [
        `Your account at ${this.serviceName} has this e-mail address again. Its password, its sessions and the API keys made since the change have ended. Open this link within 15 minutes:`,
      ],
      link: { label: 'Choose a new password', url: `${this.publicUrl}/reset-password#token=${token}` },
      after: ['Later, ask for a new password where you log in: you get another link.'],
    };
  }

  /** To the owner of an address with which somebody tried to sign up again, or which he wanted for another account. */
  signUpAttempt(): Text {
    return {
      subject: 'Somebody tried to sign up with your address',
      before: [
        `You have an account at ${this.serviceName} already, with this e-mail address; it was given for another one.`,
        'If it was you: log in with the password you have.',
        'If it was not: you need not do anything, nothing was changed.',
      ],
    };
  }

  /** To the new address. */
  changeOfAddress(token: string): Text {
    return {
      subject: 'Confirm your new e-mail address',
      before: [
        `The owner of an account at ${this.serviceName} wants to use this address. If it was you, open this link within an hour and press the button:`,
      ],
      link: { label: 'Use this address', url: `${this.publicUrl}/confirm-email#token=${token}` },
      after: ['If it was not you, ignore this mail: nothing happens.'],
    };
  }

  /** To the old address. */
  emailChanged(token: string, newEmail: string): Text {
    return {
      subject: 'Your e-mail address was changed',
      before: [
        `Your account at ${this.serviceName} has another e-mail address now: ${newEmail}.`,
        'If it was you, you need not do anything. If it was not, take your account back within seven days:',
      ],
      link: { label: 'Undo the change', url: `${this.publicUrl}/undo-email#token=${token}` },
      after: [
        'That ends the password, all sessions and the API keys made since; you choose a new password then.',
      ],
    };
  }

  /** When a refresh token came back that had been exchanged already: two parties have it. */
  sessionEnded(): Text {
    return {
      subject: 'A session was ended for your safety',
      before: [
        `One of your sessions at ${this.serviceName} was used from two places with the same credentials, so it was ended.`,
        'If a program of yours keeps old refresh tokens, log in again with it.',
        'If you do not know what this was: change your password. That ends all other sessions too.',
      ],
    };
  }

  /** By an admin. */
  sessionsEnded(): Text {
    return {
      subject: 'You were logged out everywhere',
      before: [
        `An operator of ${this.serviceName} ended all your sessions. Log in again; your API keys go on working.`,
      ],
    };
  }

  /** After a change or a reset. */
  passwordChanged(): Text {
    return {
      subject: 'Your password was changed',
      before: [
        `The password of your account at ${this.serviceName} was changed, and all other sessions were ended.`,
        'If it was not you: ask for a new password at once, and look through your API keys.',
      ],
    };
  }

  /** After so many wrong guesses. */
  locked(): Text {
    return {
      subject: 'Somebody tries to guess your password',
      before: [
        `So many wrong passwords or codes were tried at your account at ${this.serviceName} that, for 15 minutes, not even the right ones are taken.`,
        'These guesses opened nothing, and programs and devices that are logged in go on.',
        `If it was you: wait, or ask for a new password, which ends the wait.`,
        'If it was not you: look through your sessions, and end those that you do not know. With a long password and two-factor authentication, guessing leads nowhere.',
      ],
    };
  }

  suspended(): Text {
    return {
      subject: 'Your account was suspended',
      before: [
        `An operator of ${this.serviceName} suspended your account: you cannot log in, and your API keys are refused.`,
        'Ask the operator if you do not know why.',
      ],
    };
  }

  restored(): Text {
    return {
      subject: 'Your account works again',
      before: [
        `An operator of ${this.serviceName} ended the suspension of your account. Log in again; your API keys work.`,
      ],
    };
  }
}
