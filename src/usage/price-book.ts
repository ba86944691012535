import { Injectable } from '@nestjs/common';
import type { NanoUsd } from '../common/money';

/** What a call consumed, as its provider counts it. */
export interface Consumption {
  readonly provider: string;
  readonly model: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** 0.0001 USD. */
const PRICE_PER_TOKEN_NANO_USD: NanoUsd = 100_000n;

/** What calls cost. */
@Injectable()
export class PriceBook {
  /** The exact price of a consumption, in nano-dollars. */
  price({ inputTokens, outputTokens }: Consumption): NanoUsd {
    return BigInt(inputTokens + outputTokens) * PRICE_PER_TOKEN_NANO_USD;
  }
}
