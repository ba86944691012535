import { dictionary } from '@zxcvbn-ts/language-common';
import { SERVICE_TITLE } from '../common/version';
import { AuthErrors } from './auth.errors';

/** The commonest passwords, in lower case; whole passwords, so that a long one may well hold a common word. */
const common: ReadonlySet<string> = new Set(dictionary['passwords-common']);

/** What the product is called is the first thing to be tried. */
const productWords: ReadonlySet<string> = new Set([
  'cortex',
  'cortexauth',
  'cortexmemory',
  squeeze(SERVICE_TITLE),
]);

/**
 * Why a password would be guessed first, or null when nothing speaks against it. Length is checked with the input;
 * there are no rules of composition (NIST SP 800-63B, 3.1.1.2).
 */
export function passwordFault(password: string, email: string): string | null {
  const folded = password.normalize('NFKC').toLowerCase();
  if (common.has(folded)) return 'it is one of the most common passwords';
  if (folded === email || folded === email.slice(0, email.lastIndexOf('@')))
    return 'it is your e-mail address, or its first part';
  if (productWords.has(squeeze(folded))) return 'it is the name of this product';
  return null;
}

/** @throws ApiError `weak_password`, with the reason. */
export function assertStrong(password: string, email: string): void {
  const fault = passwordFault(password, email);
  if (fault) throw AuthErrors.weakPassword(fault);
}

function squeeze(text: string): string {
  return text.toLowerCase().replace(/[^\p{L}]/gu, '');
}
