import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { ApiKeysService } from '../api-keys/api-keys.service';
import { budgetColumn } from '../common/budget';
import { Clock } from '../common/clock';
import { parseUsd } from '../common/money';
import type { RequestOrigin } from '../common/origin';
import type { UserPrincipal } from '../common/principal';
import { Audit } from '../platform/audit/audit';
import { lockForSession } from '../users/lock-user';
import { plans } from '../users/plans';
import { UsersService } from '../users/users.service';
import { monthOf, nextMonth, type Standing } from './caps';
import { UsageMonth } from './usage-month.entity';

/** The caps of an account and how much of them this month has. */
export interface AccountBudget {
  readonly monthlyBudgetUsd: string | null;
  readonly usd: Standing;
  /** Null: the plan refuses nothing for its tokens. */
  readonly tokensIncluded: number | null;
  readonly tokens: Standing;
  readonly resetsAt: Date;
}

@Injectable()
export class BudgetService {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly users: UsersService,
    private readonly apiKeys: ApiKeysService,
    private readonly audit: Audit,
  ) {}

  /** The caps of an account, and what this month (UTC) has of them. */
  async ofAccount(userId: string): Promise<AccountBudget> {
    const user = await this.users.get(userId);
    const { usd, tokens, resetsAt } = await this.standing(userId, userId);
    const plan = plans[user.tier];
    return {
      monthlyBudgetUsd: user.monthlyBudgetUsd,
      usd,
      tokensIncluded: plan.beyondIncluded === 'refused' ? plan.tokensIncludedPerMonth : null,
      tokens,
      resetsAt,
    };
  }

  /** What this month (UTC) has of a key, or of the account when `scopeId` is the user's id. */
  async standing(
    userId: string,
    scopeId: string,
  ): Promise<{ usd: Standing; tokens: Standing; resetsAt: Date }> {
    const month = monthOf(this.clock.now());
    const row = await this.db.findOneBy(UsageMonth, { userId, scopeId, month });
    return {
      usd: { settled: parseUsd(row?.costUsd ?? '0'), held: parseUsd(row?.heldUsd ?? '0') },
      tokens: { settled: BigInt(row?.tokens ?? 0), held: BigInt(row?.heldTokens ?? 0) },
      resetsAt: new Date(nextMonth(month)),
    };
  }

  /**
   * Caps what the account's calls may cost in a month, in dollars; null takes the cap away. In force within a second.
   * @throws ApiError `invalid_token` when the session has ended meanwhile.
   */
  async setForAccount(
    owner: Pick<UserPrincipal, 'userId' | 'sessionId'>,
    budgetUsd: number | null,
    origin: RequestOrigin,
  ): Promise<void> {
    const { userId } = owner;
    await this.db.transaction(async (tx) => {
      await lockForSession(owner, tx);
      await this.users.setMonthlyBudget(userId, budgetColumn(budgetUsd), tx);
      const details = { monthly_budget_usd: budgetColumn(budgetUsd) };
      await this.audit.record(
        { action: 'budget.changed', by: { id: userId, origin }, subjectId: userId, details },
        tx,
      );
    });
    this.apiKeys.forget(userId);
  }
}
