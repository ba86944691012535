import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import type { Logger } from 'pino';
import { EntityManager, MoreThan } from 'typeorm';
import { LOG } from '../common/log-token';
import type { NanoUsd } from '../common/money';
import { Price } from './price.entity';
import {
  byPrecedence,
  type Consumption,
  costOf,
  type ExactRates,
  exactRates,
  type PriceRule,
  ruleInForce,
} from './pricing';
import { defaultRates } from './start-up-prices';

const REFRESH_MS = 1_000;

const withoutRule = { version: 0, rates: exactRates(defaultRates) };

/** What calls cost: the prices of the database, at most a second old. New ones come into force later than that. */
@Injectable()
export class PriceBook implements OnModuleInit, OnApplicationShutdown {
  /** By precedence. */
  private rules: readonly (PriceRule & { readonly rates: ExactRates })[] = [];
  private isFailing = false;
  private refreshing: Promise<void> | undefined;
  private readonly timer = setInterval(() => {
    this.refreshing ??= this.refresh().finally(() => (this.refreshing = undefined));
  }, REFRESH_MS).unref();

  constructor(
    private readonly db: EntityManager,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    await this.read();
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.refreshing;
  }

  /** The price of what a call consumed, exactly, and the version of the price that was in force when it began. */
  price(operation: string, consumption: Consumption, at: Date): { cost: NanoUsd; version: number } {
    const { version, rates } = this.inForce(operation, consumption, at);
    return { cost: costOf(rates, consumption), version };
  }

  /** The most that such a call costs, however much of its input comes from a cache. */
  most(operation: string, consumption: Consumption, at: Date): NanoUsd {
    const { rates } = this.inForce(operation, consumption, at);
    const [uncached, cached] = [0, consumption.inputTokens].map((cachedTokens) =>
      costOf(rates, { ...consumption, cachedTokens }),
    ) as [NanoUsd, NanoUsd];
    return uncached > cached ? uncached : cached;
  }

  private inForce(
    operation: string,
    consumption: Consumption,
    at: Date,
  ): { version: number; rates: ExactRates } {
    return ruleInForce(this.rules, operation, consumption, at) ?? withoutRule;
  }

  /** Prices are only ever added, each with a version above all before it: what is new is all there is to read. */
  private async read(): Promise<void> {
    const newest = Math.max(0, ...this.rules.map(({ version }) => version));
    const added = await this.db.findBy(Price, { version: MoreThan(newest) });
    if (added.length === 0) return;
    const ready = added.map((price) => Object.assign(price, { rates: exactRates(price) }));
    this.rules = byPrecedence([...this.rules, ...ready]);
  }

  /** While the database is away the last known prices hold; nothing can be written then anyway. */
  private async refresh(): Promise<void> {
    try {
      await this.read();
      this.isFailing = false;
    } catch (error) {
      if (!this.isFailing) this.log.error({ err: error }, 'prices not read');
      this.isFailing = true;
    }
  }
}
