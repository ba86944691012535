import { Injectable } from '@nestjs/common';
import { EntityManager, In } from 'typeorm';
import type { ApiError } from '../common/api-error';
import { Clock } from '../common/clock';
import { type NanoUsd, parseUsd } from '../common/money';
import type { ApiKeyPrincipal } from '../common/principal';
import { OneSecondCache } from '../platform/cache/one-second-cache';
import {
  capInTheWay,
  type Caps,
  capsOf,
  monthOf,
  nextMonth,
  refusal,
  type Standing,
  type Standings,
} from '../usage/caps';
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

/** Where the month stands against a budget in dollars. */
export interface BudgetStanding extends Standing {
  /** Whose budget it is. */
  readonly scope: 'api_key' | 'account';
  readonly limit: NanoUsd;
  readonly resetsAt: Date;
}

/** What a look at the caps shows. */
export interface CapView {
  /** The first cap that has no room for one more call; null when there is room, or no cap. */
  readonly full: FullCap | null;
  /** The budget with the least left; null: there is none. */
  readonly budget: BudgetStanding | null;
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

  /** Where a caller stands now. */
  async look(principal: ApiKeyPrincipal): Promise<CapView> {
    const caps = capsOf(principal);
    if (!caps) return { full: null, budget: null };
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
    return {
      full: cap && { cap, refusal: refusal(cap, caps, null, now, month) },
      budget: tightestBudget(caps, now, month),
    };
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

function tightestBudget(caps: Caps, now: Standings, month: string): BudgetStanding | null {
  const resetsAt = new Date(nextMonth(month));
  const ofScope = (
    scope: BudgetStanding['scope'],
    limit: NanoUsd | null,
    standing: Standing,
  ): BudgetStanding[] => (limit === null ? [] : [{ scope, limit, resetsAt, ...standing }]);
  const [first, second] = [
    ...ofScope('api_key', caps.apiKeyUsd, now.apiKeyUsd),
    ...ofScope('account', caps.accountUsd, now.accountUsd),
  ];
  if (!first) return null;
  return second && leftOf(second) < leftOf(first) ? second : first;
}

/** What is left of a budget; below zero when it was lowered meanwhile. */
export function leftOf({ limit, settled, held }: BudgetStanding): NanoUsd {
  return limit - settled - held;
}
