import { Injectable } from '@nestjs/common';
import { EntityManager, In } from 'typeorm';
import { ApiKey } from '../api-keys/api-key.entity';
import { budgetNanoUsd } from '../common/budget';
import type { FieldError } from '../common/api-error';
import { Clock } from '../common/clock';
import { OneSecondCache } from '../platform/cache/one-second-cache';
import { type Capped, type Caps, capsOf } from '../usage/caps';
import { isErased } from '../users/erased-user';
import { User } from '../users/user.entity';

/** Whom a call that another service has served is charged to, and the caps it counts against, if any. */
export interface Customer {
  readonly userId: string;
  readonly apiKeyId: string | null;
  readonly caps: Caps | null;
  /** Nothing personal may be kept of him any more. */
  readonly isErased: boolean;
}

/** How another service names a customer: as `POST /keys/verify` gave it, in any case. */
export interface CustomerName {
  readonly user_id?: string;
  readonly api_key_id?: string;
}

/** Finds the customers that other services name, from memory; at most a second behind the database. */
@Injectable()
export class Customers {
  private readonly byKey: OneSecondCache<Customer>;
  private readonly byUser: OneSecondCache<Customer>;

  constructor(
    private readonly db: EntityManager,
    clock: Clock,
  ) {
    const nowMs = (): number => clock.nowMs();
    this.byKey = new OneSecondCache((ids) => this.readKeys(ids), nowMs);
    this.byUser = new OneSecondCache((ids) => this.readUsers(ids), nowMs);
  }

  /**
   * The owner of a key, or an account as a whole. A key that was deactivated still has its owner: what was done was done.
   * @returns undefined when there is none, or the two belong to different accounts.
   */
  async find({ user_id, api_key_id }: CustomerName): Promise<Customer | undefined> {
    const [userId, apiKeyId] = [user_id?.toLowerCase(), api_key_id?.toLowerCase()];
    if (apiKeyId === undefined) return userId === undefined ? undefined : this.byUser.get(userId);
    const customer = await this.byKey.get(apiKeyId);
    return userId === undefined || customer?.userId === userId ? customer : undefined;
  }

  private async readKeys(ids: readonly string[]): Promise<Map<string, Customer>> {
    const keys = await this.db.find(ApiKey, { where: { id: In([...ids]) }, relations: { user: true } });
    return new Map(keys.flatMap((key) => (key.user ? [[key.id, customerOf(key.user, key)]] : [])));
  }

  private async readUsers(ids: readonly string[]): Promise<Map<string, Customer>> {
    const users = await this.db.findBy(User, { id: In([...ids]) });
    return new Map(users.map((user) => [user.id, customerOf(user, null)]));
  }
}

/** What is wrong with a name by which nobody was found. */
export function namingFault({ user_id, api_key_id }: CustomerName): FieldError {
  if (user_id === undefined && api_key_id === undefined)
    return { field: 'user_id', message: 'or api_key_id must say whose call it is' };
  return { field: api_key_id === undefined ? 'user_id' : 'api_key_id', message: 'is nobody we know' };
}

/** Whom to tell when much of a customer's caps is used; null: he has none. */
export function cappedOf({ userId, apiKeyId, caps }: Customer): Capped | null {
  return caps && { userId, apiKeyId, caps };
}

function customerOf(user: User, key: ApiKey | null): Customer {
  const { id: userId, monthlyBudgetUsd, tier } = user;
  const budgets = {
    apiKey: budgetNanoUsd(key?.monthlyBudgetUsd ?? null),
    account: budgetNanoUsd(monthlyBudgetUsd),
  };
  return {
    userId,
    apiKeyId: key?.id ?? null,
    caps: capsOf({ budgets, tier }),
    isErased: isErased(user),
  };
}
