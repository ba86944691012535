import { applyDecorators } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { EntityManager } from 'typeorm';
import { formatUsd, type NanoUsd } from '../common/money';
import { originOf } from '../common/origin';
import type { Principal, RequestState } from '../common/principal';
import { meteredPolicies } from '../limits/policies';
import { RateLimited } from '../limits/rate-limit.decorator';
import { isLate } from '../platform/database/statement-limits';
import { TakesIdempotencyKey } from '../platform/idempotency/idempotent';
import { type Caps, capsOf, monthOf, NO_CAPS } from './caps';
import type { Holds } from './holds';
import type { Lease } from './lease';
import type { Leases } from './leases';
import type { HeldFor, Ledger } from './ledger';
import type { Opening } from './open-statement';
import type { PriceBook } from './price-book';
import type { Consumption } from './pricing';
import type { UsageLog } from './usage-log.entity';

/**
 * Marks a route whose handler runs a metered call (`UsageInterceptor`): the limits of the caller's plan hold for it. A
 * repeated `Idempotency-Key` is answered from the first run, and consumes nothing.
 */
export const Metered = (): MethodDecorator =>
  applyDecorators(RateLimited(...meteredPolicies), TakesIdempotencyKey());

/** A request that AuthGuard has let in. */
export type MeteredRequest = FastifyRequest & RequestState & { user: Principal };

/** What metered calls are measured by and written with. */
export interface Metering {
  readonly prices: PriceBook;
  readonly holds: Holds;
  readonly leases: Leases;
  readonly ledger: Ledger;
  /** So long a call may take; what it holds is let go of later. */
  readonly holdSeconds: number;
}

/** One call of a metered operation, from its handler to the ledger. */
export class MeteredCall {
  private consumption: Consumption | undefined;
  private hold: Opening | null = null;
  /** On which it has drawn what it holds; null: the hold is its own. */
  private lease: Lease | null = null;
  private endUser: string | undefined;
  private costNanoUsd: NanoUsd = 0n;
  private priceVersion = 0;
  private isEstimate = false;
  private isStreamed = false;

  constructor(
    private readonly operation: string,
    private readonly request: MeteredRequest,
    private readonly metering: Metering,
    private readonly startedAt: Date,
  ) {}

  /** Also the id of the call's line in the ledger. */
  get requestId(): string {
    return this.request.id;
  }

  /** Whether its handler ends the call itself, when the stream that it answers with ends. */
  get endsLater(): boolean {
    return this.isStreamed;
  }

  /**
   * Sets aside the most that the call can consume, when its caller has a budget or a quota; to be awaited before
   * anything is consumed.
   * @throws ApiError `budget_exceeded`, `quota_exceeded`.
   */
  async reserve(most: Consumption): Promise<void> {
    const { user } = this.request;
    const caps = user.kind === 'api_key' ? capsOf(user) : null;
    if (!caps) return;
    const opening = this.opening(most, caps);
    this.lease = this.metering.leases.draw(opening);
    if (!this.lease) await this.metering.holds.open(opening);
    this.hold = opening;
  }

  /**
   * The same for a call that is answered with a stream, whatever its caller has: should the process die, the row of
   * what is set aside tells of the call. The handler ends the call itself, by {@link settle} or {@link release}.
   * @param ifLost what is charged when the process dies: an estimate.
   */
  async reserveStream(most: Consumption, ifLost: Consumption): Promise<void> {
    const { user } = this.request;
    this.isStreamed = true;
    this.chargeEstimate(ifLost);
    const caps = (user.kind === 'api_key' && capsOf(user)) || NO_CAPS;
    const lineIfLost = Object.assign(this.toLine(200), { ipAddress: null, userAgent: null });
    const opening = this.opening(most, caps, lineIfLost);
    await this.metering.holds.open(opening);
    this.hold = opening;
  }

  private opening(most: Consumption, caps: Caps, lineIfLost?: UsageLog): Opening {
    const { user } = this.request;
    return {
      id: this.requestId,
      userId: user.userId,
      apiKeyId: user.kind === 'api_key' ? user.apiKeyId : null,
      month: monthOf(this.startedAt),
      most: {
        tokens: BigInt(most.inputTokens + most.outputTokens),
        costNanoUsd: this.metering.prices.most(this.operation, most, this.startedAt),
      },
      caps,
      expiresAt: new Date(this.startedAt.getTime() + this.metering.holdSeconds * 1_000),
      lineIfLost,
    };
  }

  /**
   * Ends the call with its line in the ledger.
   * @param together written in one transaction with the line.
   */
  async settle(statusCode: number, together?: (tx: EntityManager) => Promise<void>): Promise<void> {
    const { ledger } = this.metering;
    const { hold, lease } = this;
    const line = this.toLine(statusCode);
    const write = (held: HeldFor): Promise<void> =>
      together ? ledger.appendWith(line, held, together) : ledger.append(line, held);
    if (!hold || !lease) {
      await write({ hold, draw: null, capped: hold });
      this.hold = null;
      return;
    }
    this.hold = null;
    const consumed = { tokens: BigInt(line.tokensUsed), costNanoUsd: this.costNanoUsd };
    await lease.settle(hold.most, consumed, (draw) => write({ hold: null, draw, capped: hold }));
  }

  /** Ends the call without a line: it failed. Who was told nothing by the database in time does not wait for it again. */
  async release(error?: unknown): Promise<void> {
    const { hold, lease } = this;
    const { holds } = this.metering;
    this.hold = null;
    if (!hold) return;
    if (lease) lease.giveBack(hold.most);
    else if (isLate(error)) holds.releaseLater(hold);
    else await holds.release(hold);
  }

  /**
   * States what the call consumed; the handler calls this once, before it answers.
   * @param endUser the caller's own end user, kept as metadata.
   * @returns the price.
   */
  charge(consumption: Consumption, endUser?: string): NanoUsd {
    this.consumption = consumption;
    this.endUser = endUser;
    this.isEstimate = false;
    const { cost, version } = this.metering.prices.price(this.operation, consumption, this.startedAt);
    this.costNanoUsd = cost;
    this.priceVersion = version;
    return cost;
  }

  /** The same when the call ended early, so that nobody has counted. */
  chargeEstimate(consumption: Consumption, endUser?: string): void {
    this.charge(consumption, endUser);
    this.isEstimate = true;
  }

  /** The ledger's line for this call, answered with `statusCode`. */
  private toLine(statusCode: number): UsageLog {
    const { user, method, routeOptions } = this.request;
    const { requestId, ip, userAgent } = originOf(this.request);
    const { provider = null, model = null } = this.consumption ?? {};
    const { inputTokens = 0, outputTokens = 0, cachedTokens = 0 } = this.consumption ?? {};
    return {
      id: requestId,
      userId: user.userId,
      apiKeyId: user.kind === 'api_key' ? user.apiKeyId : null,
      operation: this.operation,
      provider,
      model,
      inputTokens,
      outputTokens,
      cachedTokens,
      tokensUsed: inputTokens + outputTokens,
      costUsd: formatUsd(this.costNanoUsd),
      priceVersion: this.priceVersion,
      ipAddress: ip,
      userAgent,
      metadata: {
        path: routeOptions.url ?? '',
        method,
        status_code: statusCode,
        ...(this.endUser !== undefined && { end_user: this.endUser }),
        ...(this.isEstimate && { estimated: true }),
      },
      createdAt: this.startedAt,
    };
  }
}
