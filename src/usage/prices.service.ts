import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Clock } from '../common/clock';
import { type NanoUsd, parseUsd } from '../common/money';
import { type Page, pageOf, type PageRequest } from '../common/pagination';
import { type Actor, Audit } from '../platform/audit/audit';
import { Price } from './price.entity';
import type { Rates } from './pricing';
import { UsageErrors } from './usage.errors';

/** So much later than now a price comes into force at the earliest: every process knows it by then. */
const LEAD_MS = 5_000;

/** Any constant does: whoever adds a price waits for whoever adds another. */
const VERSION_LOCK = 7_263_951_841;

/** What a price is for, and how much. */
export interface NewPrice extends Rates {
  readonly operation: string;
  readonly provider: string | null;
  readonly model: string | null;
}

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
export class PricesService {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly audit: Audit,
  ) {}

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
    const now = this.clock.now();
    const earliest = new Date(now.getTime() + LEAD_MS);
    if (effectiveFrom && effectiveFrom <= now) throw UsageErrors.priceInThePast();
    return this.db.transaction(async (tx) => {
      await tx.query('SELECT pg_advisory_xact_lock($1)', [VERSION_LOCK]);
      const version = ((await tx.maximum(Price, 'version')) ?? 0) + 1;
      const added = Object.assign(new Price(), {
        ...price,
        id: uuidv7(),
        version,
        effectiveFrom: effectiveFrom && effectiveFrom > earliest ? effectiveFrom : earliest,
        createdAt: now,
      });
      await tx.insert(Price, added);
      const details = { operation: price.operation, version: `${version}` };
      await this.audit.record(
        { action: 'price.added', by, subjectId: null, targetId: added.id, details },
        tx,
      );
      return added;
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
}
