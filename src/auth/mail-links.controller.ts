import { applyDecorators, Controller, Get, Header } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { Public } from '../common/access';
import { pagePolicy } from '../common/page';
import { MAIL_LINK_SCRIPT, mailLinkPage } from './mail-link-page';

const Page = (path: string): MethodDecorator =>
  applyDecorators(
    Get(path),
    Header('content-type', 'text/html; charset=utf-8'),
    Header('content-security-policy', pagePolicy(MAIL_LINK_SCRIPT)),
    Header('cache-control', 'no-store'),
  );

/** Where mailed links lead. A page itself changes nothing, so a mail scanner that opens the link does no harm; its button does. */
@ApiExcludeController()
@Public()
@Controller()
export class MailLinksController {
  @Page('verify-email')
  verifyEmail(): string {
    const done = 'Your e-mail address is verified. You can close this page.';
    return mailLinkPage(
      'Verify your e-mail address',
      {
        route: '/auth/verify-email',
        text: 'Press the button to show that this address is yours.',
        button: 'Verify my address',
        done,
      },
      {
        route: '/auth/verify-email',
        text: 'Or type the code that stands in the mail.',
        fields: `<p><label>E-mail address<br><input type="email" name="email" autocomplete="email" required></label></p>
          <p><label>Code of six digits<br>
          <input name="code" inputmode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" maxlength="6" required></label></p>`,
        button: 'Verify by code',
        done,
        isWithoutToken: true,
      },
    );
  }

  @Page('not-me')
  notMe(): string {
    return mailLinkPage('You did not sign up?', {
      route: '/auth/verify-email/not-me',
      text: 'Press the button to end the password, the sessions and the API keys of the account that was made with your address.',
      button: 'It was not me',
      done: 'Whoever made the account is shut out. To have it yourself, ask for a new password.',
    });
  }

  @Page('confirm-email')
  confirmEmail(): string {
    return mailLinkPage('Your new e-mail address', {
      route: '/auth/me/email/confirm',
      text: 'Press the button to use this address for your account from now on.',
      button: 'Use this address',
      done: 'Your account has its new address. Log in with it from now on.',
    });
  }

  @Page('undo-email')
  undoEmail(): string {
    return mailLinkPage('Take your address back', {
      route: '/auth/me/email/undo',
      text: 'Press the button to give your account its old address again. Its password, its sessions and the API keys made since end.',
      button: 'Undo the change',
      done: 'Your account has its old address again. A link to choose a new password has been mailed to it.',
    });
  }

  @Page('reset-password')
  resetPassword(): string {
    return mailLinkPage('Choose a new password', {
      route: '/auth/password/reset/confirm',
      text: 'It takes the place of the old one, and ends all your sessions.',
      fields: `<p><label>New password, 8 characters or more<br>
        <input type="password" name="new_password" autocomplete="new-password" minlength="8" required></label></p>`,
      button: 'Set my password',
      done: 'Your new password is set. Log in with it.',
    });
  }

  @Page('stop-two-factor-reset')
  stopTwoFactorReset(): string {
    return mailLinkPage('Keep two-factor authentication on', {
      route: '/auth/2fa/reset/stop',
      text: 'Press the button if you did not ask for two-factor authentication to be turned off.',
      button: 'Keep it on',
      done: 'Two-factor authentication stays on.',
    });
  }
}
