import { hash, verify } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { z } from 'zod';
import { type Leak, KeyLeaks } from '../api-keys/key-leaks.service';
import { CommonErrors } from '../common/common.errors';
import type { RequestOrigin } from '../common/origin';
import { GatewayErrors } from './gateway.errors';
import { GithubSigners } from './github-signers';

const URL_LENGTH_MAX = 2_000;

/** GitHub may add fields; `url` may be empty. */
const matches = z.array(z.object({ token: z.string(), type: z.string(), url: z.string().default('') }));

/** What a report is signed with: two headers, as they came. */
export interface LeakSignature {
  /** `Github-Public-Key-Identifier`. */
  readonly identifier: string | undefined;
  /** `Github-Public-Key-Signature`: ECDSA over the body, in base64. */
  readonly signature: string | undefined;
}

/** What GitHub is told of a text that it took for a key. */
export interface LeakVerdict {
  /** SHA-256 in hex, so that the answer shows no key. */
  readonly tokenHash: string;
  readonly tokenType: string;
  readonly isKey: boolean;
}

/**
 * Takes the reports of GitHub's secret scanning
 * (https://docs.github.com/code-security/secret-scanning/secret-scanning-partnership-program/secret-scanning-partner-program).
 */
@Injectable()
export class GithubLeaks {
  constructor(
    private readonly signers: GithubSigners,
    private readonly leaks: KeyLeaks,
  ) {}

  /**
   * Ends the keys that GitHub has found.
   * @param rawBody the bytes of the body: the signature is over them.
   * @throws ApiError `invalid_leak_signature`, `leak_signers_unavailable`, `malformed_request`.
   */
  async take(rawBody: unknown, signed: LeakSignature, origin: RequestOrigin): Promise<LeakVerdict[]> {
    if (!(rawBody instanceof Buffer) || !(await this.isSigned(rawBody, signed)))
      throw GatewayErrors.badLeakSignature();
    const found = parse(rawBody);
    const leaks = found.map(({ token, url }): Leak => ({ text: token, url: storable(url) }));
    const areKeys = await this.leaks.report(leaks, 'github', { id: null, origin });
    return found.map(({ token, type }, i) => ({
      tokenHash: hash('sha256', token),
      tokenType: type,
      isKey: areKeys[i] ?? false,
    }));
  }

  private async isSigned(body: Buffer, { identifier, signature }: LeakSignature): Promise<boolean> {
    if (!identifier || !signature) return false;
    const key = await this.signers.find(identifier);
    return key !== undefined && verify('sha256', body, key, Buffer.from(signature, 'base64'));
  }
}

function parse(body: Buffer): z.infer<typeof matches> {
  try {
    return matches.parse(JSON.parse(body.toString('utf8')));
  } catch (cause) {
    throw CommonErrors.malformedRequest.with({ cause });
  }
}

/** An address that owners can follow, in characters that PostgreSQL keeps; null for anything else. */
function storable(url: string): string | null {
  const isLink = URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);
  return isLink ? new URL(url).href.slice(0, URL_LENGTH_MAX) : null;
}
