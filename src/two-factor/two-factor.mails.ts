import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { ENV, type Env } from '../config/env';
import { type Letter, layOut } from '../platform/mail/mail-layout';
import { Mailer } from '../platform/mail/mailer';
import { UsersService } from '../users/users.service';
import { TwoFactorResets, type WaitingReset } from './two-factor-resets';

type Text = Omit<Letter, 'to'>;

/** The mails about second factors: notices with a `userId`, to proven addresses, and that of a reset with its `resetId`. */
@Injectable()
export class TwoFactorMails implements OnModuleInit {
  constructor(
    private readonly mailer: Mailer,
    private readonly users: UsersService,
    private readonly resets: TwoFactorResets,
    @Inject(ENV) private readonly env: Env,
  ) {}

  onModuleInit(): void {
    const { SERVICE_NAME, PUBLIC_URL } = this.env;
    this.mailer.define('two_factor_reset', async ({ resetId }: { resetId: string }) => {
      const reset = await this.resets.mail(resetId);
      return reset && layOut({ ...resetAsked(SERVICE_NAME, PUBLIC_URL, reset), to: reset.user.email });
    });
    this.notice('two_factor_enabled', enabled(SERVICE_NAME));
    this.notice('two_factor_disabled', disabled(SERVICE_NAME));
    this.notice('backup_code_used', backupCodeUsed(SERVICE_NAME));
    this.notice('backup_codes_replaced', backupCodesReplaced(SERVICE_NAME));
  }

  private notice(kind: string, text: Text): void {
    this.mailer.define(kind, async ({ userId }: { userId: string }) => {
      const user = await this.users.find(userId);
      return user?.isVerified ? layOut({ ...text, to: user.email }) : null;
    });
  }
}

function enabled(serviceName: string): Text {
  return {
    subject: 'Two-factor authentication is on',
    before: [
      `Your account at ${serviceName} now asks for a code of your authenticator app, and all other sessions were ended.`,
      'Keep the backup codes where you find them without your phone.',
      'If it was not you: ask for a new password at once, and write to the operator of the service.',
    ],
  };
}

function disabled(serviceName: string): Text {
  return {
    subject: 'Two-factor authentication is off',
    before: [
      `Your account at ${serviceName} does not ask for a second factor any more, and all other sessions were ended.`,
      'If it was not you: ask for a new password at once, and look through your API keys.',
    ],
  };
}

function backupCodeUsed(serviceName: string): Text {
  return {
    subject: 'A backup code was used',
    before: [
      `One of the backup codes of your account at ${serviceName} was used. It does not work again.`,
      'If your phone is lost, set up two-factor authentication anew on another one.',
      'If it was not you: change your password and make new backup codes at once.',
    ],
  };
}

function backupCodesReplaced(serviceName: string): Text {
  return {
    subject: 'You have new backup codes',
    before: [
      `New backup codes were made for your account at ${serviceName}. The old ones do not work any more.`,
      'If it was not you: change your password at once, and make new backup codes.',
    ],
  };
}

function resetAsked(serviceName: string, publicUrl: string, { resetAt, token }: WaitingReset): Text {
  const moment = resetAt.toISOString().slice(0, 16).replace('T', ' ');
  return {
    subject: 'Two-factor authentication will be turned off',
    before: [
      `An admin was asked to turn off two-factor authentication of your account at ${serviceName}.`,
      `From ${moment} UTC on, the next log-in with your password alone turns it off.`,
      'If you did not ask for it, open this link and press the button. It stops it:',
    ],
    link: { label: 'Stop it', url: `${publicUrl}/stop-two-factor-reset#token=${token}` },
    after: [
      'A code of your app, at log-in or in a session, stops it too.',
      'If you did not ask for it, change your password as well.',
    ],
  };
}
