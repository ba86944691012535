import { v7 as uuidv7 } from 'uuid';
import type { UsageLog } from '../../src/usage/usage-log.entity';

/** A line of the ledger, by a user of its own; a test names only what it is about. */
export function usageLine(fields: Partial<UsageLog> = {}): UsageLog {
  const { inputTokens = 1, outputTokens = 2 } = fields;
  return {
    id: uuidv7(),
    userId: uuidv7(),
    apiKeyId: null,
    operation: 'test',
    provider: null,
    model: null,
    inputTokens,
    outputTokens,
    cachedTokens: 0,
    tokensUsed: inputTokens + outputTokens,
    costUsd: '0.000300000',
    priceVersion: 0,
    ipAddress: null,
    userAgent: null,
    metadata: { path: '/test', method: 'POST', status_code: 200 },
    createdAt: new Date(),
    ...fields,
  };
}
