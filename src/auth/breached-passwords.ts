import { createHash } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOG } from '../common/log-token';
import { ENV, type Env } from '../config/env';
import { AuthErrors } from './auth.errors';

/** Longest wait; then the password is taken as it is. */
const TIMEOUT_MS = 1_000;
/** How much of a password's digest leaves the service, in hexadecimal digits: 20 bits, which hundreds of listed ones share. */
const PREFIX_DIGITS = 5;

/**
 * Passwords known from data breaches, by the range protocol of Have I Been Pwned: the service at BREACHED_PASSWORDS_URL
 * gets the beginning of the password's SHA-1, and answers with every digest it knows that begins so.
 * Ask when the rules of our own have passed.
 */
@Injectable()
export class BreachedPasswords {
  constructor(
    @Inject(ENV) private readonly env: Pick<Env, 'BREACHED_PASSWORDS_URL'>,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  /** Lets every password pass when the setting is not there, or its service does not answer in time. @throws ApiError `weak_password`. */
  async assertUnknown(password: string): Promise<void> {
    const baseUrl = this.env.BREACHED_PASSWORDS_URL;
    if (baseUrl !== undefined && (await this.isListed(password, baseUrl)))
      throw AuthErrors.weakPassword('it is known from a data breach');
  }

  private async isListed(password: string, baseUrl: string): Promise<boolean> {
    const digest = createHash('sha1').update(password.normalize('NFKC')).digest('hex').toUpperCase();
    const suffix = digest.slice(PREFIX_DIGITS);
    try {
      const answer = await fetch(`${baseUrl}/range/${digest.slice(0, PREFIX_DIGITS)}`, {
        // Answers of equal length, so that a listener cannot tell the prefix by it.
        headers: { 'Add-Padding': 'true', 'User-Agent': 'cortex-auth' },
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (!answer.ok) throw new Error(`It answered ${answer.status}.`);
      return (await answer.text()).split('\n').some((line) => isCounted(line, suffix));
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'unknown';
      this.log.warn({ reason }, 'breached passwords not asked');
      return false;
    }
  }
}

/** A line is `SUFFIX:COUNT`; what was added as padding has a count of 0. */
function isCounted(line: string, suffix: string): boolean {
  const [listed, count] = line.trim().split(':');
  return listed?.toUpperCase() === suffix && Number(count) > 0;
}
