import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsOptional, registerDecorator, ValidateIf } from 'class-validator';
import { type NanoUsd, parseUsd } from './money';
import { Optional } from './optional';

const BUDGET_USD_MAX = 1_000_000_000;
const DECIMALS = 6;

const budgetProperty = {
  type: 'number',
  minimum: 0,
  maximum: BUDGET_USD_MAX,
  nullable: true,
  example: 25.5,
} as const;

/** Ends the description of each budget: who sets one might take it for a cap of his bill. */
export const NOT_THE_INVOICE =
  'Usage cost follows the price list, not the invoice: a subscription bills tokens beyond the plan at `price_usd_per_token_beyond`.';

/** A DTO field that takes a monthly budget in US dollars, with six decimals at most; null or absent: no cap. */
export const BudgetField = (description: string): PropertyDecorator =>
  applyDecorators(ApiPropertyOptional({ ...budgetProperty, description }), IsOptional(), IsBudget());

/** The same, where a budget that is left out would be taken for none. */
export const RequiredBudgetField = (description: string): PropertyDecorator =>
  applyDecorators(
    ApiProperty({ ...budgetProperty, description }),
    ValidateIf((_dto, value) => value !== null),
    IsBudget(),
  );

/** A DTO field that takes an amount of US dollars, with six decimals at most. */
export const UsdField = (description: string, { isOptional = false } = {}): PropertyDecorator =>
  applyDecorators(
    ApiProperty({
      type: 'number',
      minimum: 0,
      maximum: BUDGET_USD_MAX,
      required: !isOptional,
      example: 0.4,
      description,
    }),
    ...(isOptional ? [Optional()] : []),
    IsBudget(),
  );

/** class-validator's own rule for decimals throws on numbers such as 1e-7. */
function IsBudget(): PropertyDecorator {
  return (target, property) => {
    registerDecorator({
      name: 'isBudget',
      target: target.constructor,
      propertyName: property as string,
      validator: {
        validate: (value: unknown) =>
          typeof value === 'number' &&
          value >= 0 &&
          value <= BUDGET_USD_MAX &&
          Number(value.toFixed(DECIMALS)) === value,
        defaultMessage: () =>
          `must be a number of dollars from 0 to ${BUDGET_USD_MAX} with at most ${DECIMALS} decimals`,
      },
    });
  };
}

/** A budget of the wire, or another amount, as its column holds it. */
export function budgetColumn(budget: number): string;
export function budgetColumn(budget: number | null): string | null;
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
