import { Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager, IsNull, Not } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Clock } from '../common/clock';
import { type NanoUsd, parseUsd } from '../common/money';
import { type Page, pageOf, type PageRequest } from '../common/pagination';
import { type Actor, Audit } from '../platform/audit/audit';
import { Price } from './price.entity';
import { duePrices, type NewPrice } from './public-prices';
import { type PublicPrices, publicPrices } from './start-up-prices';
import { UsageErrors } from './usage.errors';

/** So much later than now a price comes into force at the earliest: every process knows it by then. */
const LEAD_MS = 5_000;

/** Any constant does. */
const VERSION_LOCK = 7_263_951_841;

/** What past calls cost, and would have cost. */
export interface Simulation {
  readonly requests: number;
  readonly cost: NanoUsd;
  readonly simulatedCost: NanoUsd;
}

/** As `costOf` computes it: to a nano-dollar, half up. */
const SIMULATE_SQL = `
  SELECT count(*) AS requests, coalesce(sum(cost_usd), 0) AS cost,
         coalesce(sum(round(((input_tokens - cached_tokens) * $4::numeric + cached_tokens * $5::numeric
                             + output_tokens * $6::numeric) * 0.000001, 9) + $7::numeric), 0) AS simulated
  FROM usage_logs
  WHERE created_at >= $8 AND created_at < $9 AND operation = $1
    AND ($2::text IS NULL OR provider = $2) AND ($3::text IS NULL OR model = $3)`;

@Injectable()
export class PricesService implements OnModuleInit {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly audit: Audit,
  ) {}

  async onModuleInit(): Promise<void> {
    await this.addPublic(publicPrices);
  }

  /** Every price that was ever set, newest first. */
  async list(page: PageRequest): Promise<Page<Price>> {
    const query = this.db
      .createQueryBuilder(Price, 'price')
      .orderBy('price.id', 'DESC')
      .take(page.limit + 1);
    if (page.before !== null) query.where('price.id < :before', { before: page.before });
    return pageOf(await query.getMany(), page);
  }

  /**
   * Adds a price, as the next version.
   * @param effectiveFrom undefined: in five seconds, which is the earliest.
   * @throws ApiError `price_in_the_past`: what calls have cost does not change.
   */
  async add(price: NewPrice, effectiveFrom: Date | undefined, by: Actor): Promise<Price> {
    if (effectiveFrom && effectiveFrom <= this.clock.now()) throw UsageErrors.priceInThePast();
    return this.db.transaction(async (tx) => {
      await lockVersions(tx);
      const added = await this.insert(price, { effectiveFrom, publicAsOf: null }, tx);
      const details = { operation: price.operation, version: `${added.version}` };
      await this.audit.record(
        { action: 'price.added', by, subjectId: null, targetId: added.id, details },
        tx,
      );
      return added;
    });
  }

  /**
   * Adds what a list of public prices says and earlier ones did not. Every process that starts asks for it, and the
   * first one does it. What admins have set comes before public prices, whichever is newer.
   */
  async addPublic(list: PublicPrices): Promise<void> {
    await this.db.transaction(async (tx) => {
      await lockVersions(tx);
      const where = { publicAsOf: Not(IsNull()) };
      const earlier = await tx.find(Price, { where, order: { version: 'ASC' } });
      for (const price of duePrices(list, earlier)) {
        await this.insert(price, { publicAsOf: list.asOf }, tx);
      }
    });
  }

  /** What all calls from a moment to another would have cost by a price that need not exist. */
  async simulate(price: NewPrice, from: Date, to: Date): Promise<Simulation> {
    const [row] = await this.db.query<{ requests: string; cost: string; simulated: string }[]>(SIMULATE_SQL, [
      price.operation,
      price.provider,
      price.model,
      price.inputUsdPerMillion,
      price.cachedUsdPerMillion,
      price.outputUsdPerMillion,
      price.requestUsd,
      from,
      to,
    ]);
    return {
      requests: Number(row?.requests ?? 0),
      cost: parseUsd(row?.cost ?? '0'),
      simulatedCost: parseUsd(row?.simulated ?? '0'),
    };
  }

  /** Under {@link lockVersions}. */
  private async insert(
    price: NewPrice,
    { effectiveFrom, publicAsOf }: { effectiveFrom?: Date | undefined; publicAsOf: string | null },
    tx: EntityManager,
  ): Promise<Price> {
    const now = this.clock.now();
    const earliest = new Date(now.getTime() + LEAD_MS);
    const added = Object.assign(new Price(), {
      ...price,
      id: uuidv7(),
      version: ((await tx.maximum(Price, 'version')) ?? 0) + 1,
      effectiveFrom: effectiveFrom && effectiveFrom > earliest ? effectiveFrom : earliest,
      publicAsOf,
      createdAt: now,
    });
    await tx.insert(Price, added);
    return added;
  }
}

/** Whoever adds prices waits for whoever does: versions have no gaps, and appear in their order. */
async function lockVersions(tx: EntityManager): Promise<void> {
  await tx.query('SELECT pg_advisory_xact_lock($1)', [VERSION_LOCK]);
}
