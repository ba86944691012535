import type { Mail } from '../platform/mail/mail';

/** The mail that proves an address. The token stands after `#`, so it reaches no server's log. */
export function verificationMail(to: string, token: string, publicUrl: string): Mail {
  return {
    to,
    subject: 'Verify your e-mail address',
    text: `Welcome. Open this link within 24 hours and press the button, to show that this address is yours:

${publicUrl}/verify-email#token=${token}

If you did not sign up, ignore this mail: nothing happens.
`,
  };
}

/** Told to the owner of an address with which somebody tried to sign up again. */
export function signUpAttemptMail(to: string, publicUrl: string): Mail {
  return {
    to,
    subject: 'Somebody tried to sign up with your address',
    text: `You have an account at ${publicUrl} already, with this e-mail address.

If it was you: log in with the password you have.
If it was not: you need not do anything, nothing was changed.
`,
  };
}

/** Told when a refresh token came back that had been exchanged already: two parties have it. */
export function sessionEndedMail(to: string, publicUrl: string): Mail {
  return {
    to,
    subject: 'A session was ended for your safety',
    text: `One of your sessions at ${publicUrl} was used from two places with the same credentials, so it was ended.

If a program of yours keeps old refresh tokens, log in again with it.
If you do not know what this was: change your password. That ends all other sessions too.
`,
  };
}

/** The mail that lets a user choose a new password. */
export function resetMail(to: string, token: string, publicUrl: string): Mail {
  return {
    to,
    subject: 'Choose a new password',
    text: `Somebody, probably you, asked for a new password. Open this link within 15 minutes:

${publicUrl}/reset-password#token=${token}

If it was not you, ignore this mail: your password stays as it is.
`,
  };
}

/** Told after a password was changed or reset. */
export function passwordChangedMail(to: string, publicUrl: string): Mail {
  return {
    to,
    subject: 'Your password was changed',
    text: `The password of your account at ${publicUrl} was changed, and all other sessions were ended.

If it was not you: ask for a new password at once, and look through your API keys.
`,
  };
}
