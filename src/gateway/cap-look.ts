import { Injectable } from '@nestjs/common';
import { EntityManager, In } from 'typeorm';
import type { ApiError } from '../common/api-error';
import { Clock } from '../common/clock';
import { parseUsd } from '../common/money';
import type { ApiKeyPrincipal } from '../common/principal';
import { OneSecondCache } from '../platform/cache/one-second-cache';
import { capInTheWay, type Caps, capsOf, monthOf, refusal, type Standing } from '../usage/caps';
import { UsageMonth } from '../usage/usage-month.entity';

/** A call of which nothing is known costs something, however little. */
const LEAST = { tokens: 1n, costNanoUsd: 1n };

interface MonthStanding {
  readonly usd: Standing;
  readonly tokens: Standing;
}

/** A cap that is used up, and the refusal of a call for it. */
export interface FullCap {
  readonly cap: keyof Caps;
  readonly refusal: ApiError;
}

/** Whether there is room under the caps of a key's owner, from memory: at most a second behind the ledger. Nothing is held. */
@Injectable()
export class CapLook {
  /** By month, user and scope. */
  private readonly standings: OneSecondCache<MonthStanding>;

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
  ) {
    this.standings = new OneSecondCache(
      (names) => this.read(names),
      () => clock.nowMs(),
    );
  }

  /** The first cap that has no room for one more call; null when there is room, or no cap. */
  async full(principal: ApiKeyPrincipal): Promise<FullCap | null> {
    const caps = capsOf(principal);
    if (!caps) return null;
    const month = monthOf(this.clock.now());
    const { userId, apiKeyId } = principal;
    const [key, account] = await Promise.all([
      this.standings.get(nameOf(month, userId, apiKeyId)),
      this.standings.get(nameOf(month, userId, userId)),
    ]);
    const nothing = { settled: 0n, held: 0n };
    const now = {
      apiKeyUsd: key?.usd ?? nothing,
      accountUsd: account?.usd ?? nothing,
      tokens: account?.tokens ?? nothing,
    };
    const cap = capInTheWay(caps, LEAST, now);
    return cap && { cap, refusal: refusal(cap, caps, LEAST, now, month) };
  }

  /** What has no row yet has used nothing. */
  private async read(names: readonly string[]): Promise<Map<string, MonthStanding>> {
    const parts = names.map((name) => name.split(' '));
    const column = (i: number): string[] => [...new Set(parts.map((part) => part[i] ?? ''))];
    const rows = await this.db.findBy(UsageMonth, {
      month: In(column(0)),
      userId: In(column(1)),
      scopeId: In(column(2)),
    });
    const found = new Map(
      rows.map((row) => [
        nameOf(row.month, row.userId, row.scopeId),
        {
          usd: { settled: parseUsd(row.costUsd), held: parseUsd(row.heldUsd) },
          tokens: { settled: BigInt(row.tokens), held: BigInt(row.heldTokens) },
        },
      ]),
    );
    const nothing = { settled: 0n, held: 0n };
    return new Map(names.map((name) => [name, found.get(name) ?? { usd: nothing, tokens: nothing }]));
  }
}

function nameOf(month: string, userId: string, scopeId: string): string {
  return `${month} ${userId} ${scopeId}`;
}
