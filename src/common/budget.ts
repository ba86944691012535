import { ApiPropertyOptional } from '@nestjs/swagger';
import { applyDecorators } from '@nestjs/common';
import { IsNumber, IsOptional, Max, Min } from 'class-validator';
import { type NanoUsd, parseUsd } from './money';

const BUDGET_USD_MAX = 1_000_000_000;
const DECIMALS = 6;

/** A DTO field that takes a monthly budget in US dollars, with six decimals at most; null or absent: no cap. */
export const BudgetField = (description: string): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({
      type: 'number',
      minimum: 0,
      maximum: BUDGET_USD_MAX,
      nullable: true,
      example: 25.5,
      description,
    }),
    IsOptional(),
    IsNumber({ maxDecimalPlaces: DECIMALS, allowNaN: false, allowInfinity: false }),
    Min(0),
    Max(BUDGET_USD_MAX),
  );

/** A budget of the wire as its column holds it. */
export function budgetColumn(budget: number | null): string | null {
  return budget === null ? null : budget.toFixed(DECIMALS);
}

/** A budget's column in nano-dollars. */
export function budgetNanoUsd(column: string | null): NanoUsd | null {
  return column === null ? null : parseUsd(column);
}

/** A budget's column as the wire shows it. */
export function budgetNumber(column: string | null): number | null {
  return column === null ? null : Number(column);
}
