import { page } from '../common/page';

/** A form of a page that a mailed link leads to. All of it is HTML or text of our own, nothing of a user's. */
export interface MailLinkForm {
  /** Where it posts its fields, and the link's token; below `/api/v1`. */
  readonly route: string;
  readonly text: string;
  readonly button: string;
  /** What it says when that went well. */
  readonly done: string;
  /** Labels and inputs; default: none, just the button. */
  readonly fields?: string;
  /** Whether it needs no token: its fields are enough. Default: false. */
  readonly isWithoutToken?: boolean;
}

/** The script of every page that a mailed link leads to. */
export const MAIL_LINK_SCRIPT = `
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  history.replaceState(null, '', location.pathname);
  const forms = [...document.forms], result = document.querySelector('output');
  for (const form of forms) form.hidden = form.dataset.needs === 'token' && !token;
  if (!token) result.textContent = forms.every((form) => form.hidden) ? 'This link is not whole. Copy it from the mail once more.' : '';
  const send = async (form) => {
    const fields = Object.fromEntries([...form.querySelectorAll('input')].map(({ name, value }) => [name, value]));
    const answer = await fetch('/api/v1' + form.dataset.route, {
      method: 'POST', headers: { 'content-type': 'application/json' },
      body: JSON.stringify(form.dataset.needs === 'token' ? { token, ...fields } : fields),
    });
    const body = await answer.json();
    result.textContent = answer.ok ? form.dataset.done : body.errors ? body.errors[0].message : body.detail;
    if (answer.ok) for (const each of forms) each.hidden = true;
  };
  for (const form of forms) form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = form.querySelector('button');
    button.disabled = true;
    try { await send(form); } catch { result.textContent = 'The service could not be reached. Try again.'; }
    button.disabled = false;
  });`;

/** A page whose buttons post what the link's token stands for; opening it changes nothing. */
export function mailLinkPage(title: string, ...forms: readonly MailLinkForm[]): string {
  const body = forms.map(
    ({ route, text, button, done, fields = '', isWithoutToken = false }) => `
    <form data-route="${route}" data-needs="${isWithoutToken ? '' : 'token'}" data-done="${done}">
    <p>${text}</p>${fields}<p><button>${button}</button></p></form>`,
  );
  return page(
    title,
    `<h1>${title}</h1>${body.join('')}<p><output></output></p><noscript>This page needs JavaScript.</noscript>`,
    MAIL_LINK_SCRIPT,
  );
}
