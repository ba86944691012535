import { createPublicKey, type KeyObject } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import { Clock } from '../common/clock';
import { ENV, type Env } from '../config/env';
import { GatewayErrors } from './gateway.errors';

const BELIEVED_MS = 60 * 60_000;
/** However many reports name keys that are unknown, the list is not read more often. */
const READ_AGAIN_MS = 120_000;
const TIMEOUT_MS = 5_000;

const keyList = z.object({
  public_keys: z.array(z.object({ key_identifier: z.string(), key: z.string() })),
});

/** The public keys that GitHub's secret scanning signs with, as GitHub lists them; read when they are needed. */
@Injectable()
export class GithubSigners {
  private keys: ReadonlyMap<string, KeyObject> = new Map();
  private readAtMs = -Infinity;
  private triedAtMs = -Infinity;
  private reading: Promise<void> | undefined;

  constructor(
    private readonly clock: Clock,
    @Inject(ENV) private readonly env: Env,
  ) {}

  /**
   * The key with this identifier, or undefined when the list has none.
   * @throws ApiError `leak_signers_unavailable`.
   */
  async find(identifier: string): Promise<KeyObject | undefined> {
    const nowMs = this.clock.nowMs();
    const isStale = Math.abs(nowMs - this.readAtMs) >= BELIEVED_MS;
    if (isStale || !this.keys.has(identifier)) {
      if (!this.reading && Math.abs(nowMs - this.triedAtMs) >= READ_AGAIN_MS) {
        this.triedAtMs = nowMs;
        this.reading = this.read(nowMs).finally(() => (this.reading = undefined));
      }
      if (this.reading) await this.reading;
      // Nobody knows whether the list names this key by now.
      else if (isStale || this.triedAtMs > this.readAtMs) throw GatewayErrors.signersUnavailable();
    }
    return this.keys.get(identifier);
  }

  private async read(nowMs: number): Promise<void> {
    try {
      const response = await fetch(this.env.SECRET_SCANNING_KEYS_URL, {
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT_MS),
        headers: { accept: 'application/json', 'user-agent': 'cortex-auth' },
      });
      if (!response.ok) throw new Error(`The list of signing keys was answered with ${response.status}.`);
      const { public_keys: listed } = keyList.parse(await response.json());
      const keys = listed.map(({ key_identifier: id, key }) => [id, createPublicKey(key)] as const);
      this.keys = new Map(keys.filter(([, key]) => key.asymmetricKeyDetails?.namedCurve === 'prime256v1'));
      this.readAtMs = nowMs;
    } catch (cause) {
      throw GatewayErrors.signersUnavailable.with({ cause });
    }
  }
}
