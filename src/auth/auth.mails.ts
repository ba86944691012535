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
