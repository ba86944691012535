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
}
