import { ApiProperty } from '@nestjs/swagger';
import { NOT_THE_INVOICE, RequiredBudgetField } from '../common/budget';

export class SetBudgetDto {
  @RequiredBudgetField(
    `Refuses calls once the usage cost of this calendar month (UTC), over all keys, would pass this many US dollars; null: no cap. ${NOT_THE_INVOICE}`,
  )
  monthly_budget_usd!: number | null;
}

export class BudgetDto {
  @ApiProperty({
    type: 'number',
    nullable: true,
    example: 25.5,
    description: 'The cap in US dollars; null: none.',
  })
  monthly_budget_usd!: number | null;

  @ApiProperty({ example: 3.4567, description: 'The usage cost of the answered calls of this month.' })
  used_usd!: number;

  @ApiProperty({ example: 0.12, description: 'What calls under way may cost at most.' })
  held_usd!: number;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: 10_000,
    description: 'Tokens a month beyond which the plan refuses calls; null: it bills them.',
  })
  tokens_included!: number | null;

  @ApiProperty({
    type: 'integer',
    example: 2_345,
    description: 'Tokens of the answered calls of this month.',
  })
  tokens_used!: number;

  @ApiProperty({ type: 'integer', example: 0, description: 'Tokens that calls under way may take at most.' })
  tokens_held!: number;

  @ApiProperty({
    format: 'date-time',
    example: '2026-02-01T00:00:00.000Z',
    description: 'When both begin anew.',
  })
  resets_at!: string;
}
