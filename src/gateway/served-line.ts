import { v7 as uuidv7 } from 'uuid';
import type { FieldError } from '../common/api-error';
import { formatUsd, type NanoUsd } from '../common/money';
import type { PriceBook } from '../usage/price-book';
import type { UsageLog, UsageMetadata } from '../usage/usage-log.entity';
import type { Customer } from './customers';
import { TOKENS_MAX } from './usage-events.dto';
import type { SettleHoldDto } from './usage-holds.dto';

/** What the column of the ledger takes. */
export const COST_NANO_USD_END = 10n ** 20n;

/** A call that another service has served. */
export interface ServedCall {
  readonly customer: Customer;
  readonly operation: string;
  readonly provider: string | null;
  readonly model: string | null;
  readonly took: SettleHoldDto;
  /** The event that reported it. */
  readonly event?: UsageMetadata['event'];
  readonly createdAt: Date;
}

/** The ledger's line of such a call, by the prices of when it began, and its cost. */
export function servedLine(call: ServedCall, prices: PriceBook): { line: UsageLog; cost: NanoUsd } {
  const { customer, operation, provider, model, took, event, createdAt } = call;
  const { input_tokens: inputTokens, output_tokens: outputTokens, cached_tokens: cachedTokens } = took;
  const consumption = { provider, model, inputTokens, outputTokens, cachedTokens };
  const { cost, version } = prices.price(operation, consumption, createdAt);
  const line = {
    ...consumption,
    id: uuidv7(),
    userId: customer.userId,
    apiKeyId: customer.apiKeyId,
    operation,
    tokensUsed: inputTokens + outputTokens,
    costUsd: formatUsd(cost),
    priceVersion: version,
    ipAddress: null,
    userAgent: null,
    metadata: customer.isErased
      ? {}
      : {
          ...(event && { event }),
          ...(took.end_user !== undefined && { end_user: took.end_user }),
          ...(took.metadata && { reported: took.metadata }),
        },
    createdAt,
  };
  return { line, cost };
}

/** What is wrong with the tokens of a call besides each by itself. */
export function tokensFault({
  input_tokens,
  output_tokens,
  cached_tokens = 0,
}: Pick<SettleHoldDto, 'input_tokens' | 'output_tokens'> & Partial<SettleHoldDto>): FieldError | undefined {
  if (cached_tokens > input_tokens)
    return { field: 'cached_tokens', message: 'must not be more than input_tokens' };
  if (input_tokens + output_tokens > TOKENS_MAX)
    return {
      field: 'output_tokens',
      message: `and input_tokens must not be more than ${TOKENS_MAX} together`,
    };
  return undefined;
}
