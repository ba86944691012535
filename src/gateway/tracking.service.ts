import { Inject, Injectable } from '@nestjs/common';
import { Clock } from '../common/clock';
import { formatUsd } from '../common/money';
import type { RequestOrigin } from '../common/origin';
import type { ApiKeyPrincipal } from '../common/principal';
import { ENV, type Env } from '../config/env';
import { rateLimited } from '../limits/limits.errors';
import { claimsOf, generalPolicies, meteredPolicies } from '../limits/policies';
import { RateLimiter } from '../limits/rate-limiter';
import { capsOf } from '../usage/caps';
import { Ledger } from '../usage/ledger';
import { PriceBook } from '../usage/price-book';
import { bookedAt } from './booked-at';
import { CapLook } from './cap-look';
import { GatewayErrors } from './gateway.errors';
import { CheckedDto, parseTimestamp, type TrackDto } from './sdk.dto';

/** Of a report only the operation's price per call is charged; what was consumed elsewhere is not ours. */
const NOTHING_CONSUMED = { provider: null, model: null, inputTokens: 0, outputTokens: 0 };

/** What clients report themselves: they ask before, and write down afterwards. */
@Injectable()
export class TrackingService {
  constructor(
    private readonly clock: Clock,
    private readonly limiter: RateLimiter,
    private readonly ledger: Ledger,
    private readonly prices: PriceBook,
    private readonly caps: CapLook,
    @Inject(ENV) private readonly env: Env,
  ) {}

  /**
   * Whether a call would be let in, taking nothing.
   * @returns where the limit stands that has the fewest places left.
   * @throws ApiError `rate_limited` when one has none, `cap_reached` when a budget or the plan's tokens are used up.
   */
  async check(principal: ApiKeyPrincipal, operation: string): Promise<CheckedDto> {
    const names = [...generalPolicies(principal), ...meteredPolicies];
    const decision = await this.limiter.look(claimsOf(names, { principal, ip: '', email: undefined }));
    const refusal = rateLimited(decision);
    if (refusal) throw refusal;
    const { full } = await this.caps.look(principal);
    if (full) throw GatewayErrors.capReached(full.refusal.message);
    const [tightest] = [...decision.states].sort((a, b) => a.remaining - b.remaining);
    if (!tightest) throw new Error('Every key has a limit of its own.');
    return CheckedDto.from(operation, tightest, this.clock.nowMs());
  }

  /**
   * Writes a line for the owner of the key; resolves once it is committed. Caps do not refuse it: what was done was done.
   * @throws ApiError `timestamp_out_of_range`, `metering_busy`.
   */
  async track(principal: ApiKeyPrincipal, report: TrackDto, origin: RequestOrigin): Promise<void> {
    const now = this.clock.now();
    const doneAt = report.timestamp === undefined ? now : parseTimestamp(report.timestamp);
    const createdAt = bookedAt(doneAt, now, this.env.REPORT_AGE_DAYS_MAX);
    if (!createdAt) throw GatewayErrors.timestampOutOfRange(this.env.REPORT_AGE_DAYS_MAX);
    const { cost, version } = this.prices.price(report.operation, NOTHING_CONSUMED, createdAt);
    const { userId, apiKeyId } = principal;
    const line = {
      id: origin.requestId,
      userId,
      apiKeyId,
      operation: report.operation,
      provider: null,
      model: null,
      inputTokens: 0,
      outputTokens: 0,
      cachedTokens: 0,
      tokensUsed: 0,
      costUsd: formatUsd(cost),
      priceVersion: version,
      ipAddress: origin.ip,
      userAgent: origin.userAgent,
      metadata: {
        path: '/api/v1/usage/track',
        method: 'POST',
        status_code: 200,
        ...(report.metadata && { reported: report.metadata }),
      },
      createdAt,
    };
    const caps = capsOf(principal);
    await this.ledger.append(line, { hold: null, draw: null, capped: caps && { userId, apiKeyId, caps } });
  }
}
