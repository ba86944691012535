import { Controller, Get, Header } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { Public } from '../common/access';
import { page, pagePolicy } from '../common/page';

const VERIFY_SCRIPT = `
  const button = document.querySelector('button'), result = document.querySelector('output');
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  history.replaceState(null, '', location.pathname);
  if (!token) { button.hidden = true; result.textContent = 'This link is not whole. Copy it from the mail once more.'; }
  button.addEventListener('click', async () => {
    button.disabled = true;
    try {
      const answer = await fetch('/api/v1/auth/verify-email', {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ token }),
      });
      const body = await answer.json();
      result.textContent = answer.ok ? 'Your e-mail address is verified. You can close this page.' : body.detail;
      button.hidden = answer.status < 429;
    } catch { result.textContent = 'The service could not be reached. Try again.'; }
    button.disabled = false;
  });`;

const RESET_SCRIPT = `
  const form = document.querySelector('form'), field = document.querySelector('input'), button = document.querySelector('button');
  const result = document.querySelector('output');
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  history.replaceState(null, '', location.pathname);
  if (!token) { form.hidden = true; result.textContent = 'This link is not whole. Copy it from the mail once more.'; }
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const answer = await fetch('/api/v1/auth/password/reset/confirm', {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ token, new_password: field.value }),
      });
      const body = await answer.json();
      result.textContent = answer.ok ? 'Your new password is set. Log in with it.' : body.errors ? body.errors[0].message : body.detail;
      form.hidden = answer.ok;
    } catch { result.textContent = 'The service could not be reached. Try again.'; }
    button.disabled = false;
  });`;

/** Where mailed links lead. The page itself changes nothing, so a mail scanner that opens the link does no harm; its button does. */
@ApiExcludeController()
@Public()
@Controller()
export class MailLinksController {
  @Get('verify-email')
  @Header('content-type', 'text/html; charset=utf-8')
  @Header('content-security-policy', pagePolicy(VERIFY_SCRIPT))
  @Header('cache-control', 'no-store')
  verifyEmail(): string {
    return page(
      'Verify your e-mail address',
      `<h1>Verify your e-mail address</h1>
      <p>Press the button to show that this address is yours.</p>
      <p><button type="button">Verify my address</button></p><p><output></output></p>
      <noscript>This page needs JavaScript.</noscript>`,
      VERIFY_SCRIPT,
    );
  }

  @Get('reset-password')
  @Header('content-type', 'text/html; charset=utf-8')
  @Header('content-security-policy', pagePolicy(RESET_SCRIPT))
  @Header('cache-control', 'no-store')
  resetPassword(): string {
    return page(
      'Choose a new password',
      `<h1>Choose a new password</h1>
      <form><p><label>New password, 8 characters or more<br>
      <input type="password" autocomplete="new-password" minlength="8" required></label></p>
      <p><button>Set my password</button></p></form><p><output></output></p>
      <noscript>This page needs JavaScript.</noscript>`,
      RESET_SCRIPT,
    );
  }
}
