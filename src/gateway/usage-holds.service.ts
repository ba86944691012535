import { Injectable } from '@nestjs/common';
import { EntityManager, IsNull, Not } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { ApiError, FieldError } from '../common/api-error';
import { Clock } from '../common/clock';
import { CommonErrors } from '../common/common.errors';
import { parseUsd, usdNumber } from '../common/money';
import { monthOf, NO_CAPS, shortUsd } from '../usage/caps';
import { Holds } from '../usage/holds';
import { type EventLine, Ledger } from '../usage/ledger';
import { PriceBook } from '../usage/price-book';
import { UsageEvent } from '../usage/usage-event.entity';
import { type ServedElsewhere, UsageHold } from '../usage/usage-hold.entity';
import { cappedOf, Customers, namingFault } from './customers';
import { digest } from './event-reader';
import { GatewayErrors } from './gateway.errors';
import { COST_NANO_USD_END, servedLine, tokensFault } from './served-line';
import type { HoldDto, OpenHoldDto, SettledHoldDto, SettleHoldDto } from './usage-holds.dto';

type OpenHold = UsageHold & { servedElsewhere: ServedElsewhere };

/** Sets aside the most that a call of another service can take, so that caps hold for it as for calls of this service. */
@Injectable()
export class UsageHoldsService {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly customers: Customers,
    private readonly prices: PriceBook,
    private readonly holds: Holds,
    private readonly ledger: Ledger,
  ) {}

  /**
   * Resolves once the hold is committed; a customer without caps gets one too, so that who serves him need not know.
   * @throws ApiError `budget_exceeded`, `quota_exceeded`, `validation_failed`, `metering_busy`.
   */
  async open(reporterId: string, asked: OpenHoldDto): Promise<HoldDto> {
    const { operation, provider = null, model = null, input_tokens, output_tokens } = asked;
    const customer = await this.customers.find(asked);
    if (!customer) throw invalid(namingFault(asked));
    const fault = tokensFault(asked);
    if (fault) throw invalid(fault);
    const now = this.clock.now();
    const consumption = { provider, model, inputTokens: input_tokens, outputTokens: output_tokens };
    const tokens = input_tokens + output_tokens;
    const costNanoUsd = this.prices.most(operation, consumption, now);
    if (costNanoUsd >= COST_NANO_USD_END)
      throw invalid({ field: '', message: 'costs more than can be booked' });
    const id = uuidv7();
    const expiresAt = new Date(now.getTime() + asked.expires_in_seconds * 1_000);
    await this.holds.open({
      id,
      userId: customer.userId,
      apiKeyId: customer.apiKeyId,
      caps: customer.caps ?? NO_CAPS,
      month: monthOf(now),
      most: { tokens: BigInt(tokens), costNanoUsd },
      expiresAt,
      servedElsewhere: { reporterId, operation, provider, model, begunAt: now.toISOString() },
    });
    return {
      id,
      held_tokens: tokens,
      held_usd: usdNumber(costNanoUsd),
      expires_at: expiresAt.toISOString(),
    };
  }

  /**
   * Books what a call took in the place of what was held for it; the same again changes nothing.
   * @throws ApiError `hold_not_found`, `hold_exceeded`, `hold_settled` when it was settled with something else,
   * `validation_failed`, `metering_busy`.
   */
  async settle(reporterId: string, id: string, took: SettleHoldDto): Promise<SettledHoldDto> {
    const fault = tokensFault(took);
    if (fault) throw invalid(fault);
    const event = { reporterId, identity: identityOf(id), fingerprint: digest(took) };
    const hold = await this.find(reporterId, id);
    const outcome = await (hold
      ? this.ledger.settle({ ...(await this.lineOf(hold, took)), event }, hold)
      : this.ledger.find(event));
    if (!outcome) throw GatewayErrors.holdNotFound();
    if (outcome.status === 'conflict') throw GatewayErrors.holdSettled();
    return { status: outcome.status, line_id: outcome.lineId };
  }

  /**
   * Lets go of what is held for a call that failed.
   * @throws ApiError `hold_not_found`: nothing is held by that id any more; `hold_settled`, `metering_busy`.
   */
  async release(reporterId: string, id: string): Promise<void> {
    const hold = await this.find(reporterId, id);
    if (hold) await this.ledger.release(hold);
    // Asked after the hold is gone: whoever settled it at the same moment has committed by now.
    const isSettled = await this.db.existsBy(UsageEvent, { userId: reporterId, identity: identityOf(id) });
    if (isSettled) throw GatewayErrors.holdSettled();
    if (!hold) throw GatewayErrors.holdNotFound();
  }

  /** The line that a call leaves. @throws ApiError `hold_exceeded`: together with it, a cap might not hold. */
  private async lineOf(hold: OpenHold, took: SettleHoldDto): Promise<Omit<EventLine, 'event'>> {
    const { userId, apiKeyId, tokens, costUsd, servedElsewhere } = hold;
    const { operation, provider, model, begunAt } = servedElsewhere;
    const customer = await this.customers.find({
      user_id: userId,
      ...(apiKeyId !== null && { api_key_id: apiKeyId }),
    });
    if (!customer) throw new Error('Neither users nor keys are ever deleted.');
    const { line, cost } = servedLine(
      { customer, operation, provider, model, took, createdAt: new Date(begunAt) },
      this.prices,
    );
    const heldNanoUsd = parseUsd(costUsd);
    if (line.tokensUsed > Number(tokens) || cost > heldNanoUsd)
      throw GatewayErrors.holdExceeded(tokens, shortUsd(heldNanoUsd), `${line.tokensUsed}`, shortUsd(cost));
    return { line, capped: cappedOf(customer) };
  }

  /** Another reporter's hold is not found, as if there were none. */
  private async find(reporterId: string, id: string): Promise<OpenHold | null> {
    const hold = await this.db.findOneBy(UsageHold, { id, servedElsewhere: Not(IsNull()) });
    return hold?.servedElsewhere?.reporterId === reporterId ? (hold as OpenHold) : null;
  }
}

/** Digest that no event of the reporter's own has: those are of a source and an id. */
function identityOf(holdId: string): Buffer {
  return digest({ hold: holdId });
}

function invalid(fault: FieldError): ApiError {
  return CommonErrors.validationFailed.with({ errors: [fault] });
}
