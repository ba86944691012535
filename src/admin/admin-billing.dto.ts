import { ApiProperty } from '@nestjs/swagger';

export class AlarmDto {
  @ApiProperty({ example: 'usage_late', description: 'Its name; docs/billing.md says what to do.' })
  alarm!: string;

  @ApiProperty({ example: 'Usage waits for Polar for 7 minutes.', description: 'What is wrong.' })
  text!: string;
}

export class OutboxDto {
  @ApiProperty({ type: 'integer', example: 0, description: 'Amounts that wait for Polar.' })
  pending!: number;

  @ApiProperty({ type: 'integer', example: 0, description: 'Amounts that Polar refused for what they say.' })
  dead!: number;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'Since when the oldest of them waits.',
  })
  oldest_at!: string | null;
}

export class MeterDto {
  @ApiProperty({ example: 'tokens', description: 'What is counted.' })
  meter!: string;

  @ApiProperty({ example: '34567', description: 'All that the ledger holds: the sum of the four below.' })
  ledger!: string;

  @ApiProperty({ example: '12', description: 'Not taken from the ledger yet.' })
  waiting!: string;

  @ApiProperty({ example: '0', description: 'Taken, and not accepted by Polar yet.' })
  on_their_way!: string;

  @ApiProperty({ example: '0', description: 'Refused by Polar for what it says.' })
  set_aside!: string;

  @ApiProperty({ example: '34555', description: 'Accepted by Polar.' })
  sent!: string;
}

export class DriftDto {
  @ApiProperty({
    format: 'uuid',
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d',
    description: 'The account.',
  })
  user_id!: string;

  @ApiProperty({ example: 'tokens', description: 'What is counted.' })
  meter!: string;

  @ApiProperty({ example: '34555', description: 'What Polar has counted, ever.' })
  polar!: string;

  @ApiProperty({ example: '-12', description: 'How much that is more, or less, than it was sent.' })
  drift!: string;

  @ApiProperty({
    format: 'date-time',
    example: '2026-01-31T12:00:00.000Z',
    description: 'When Polar was asked.',
  })
  checked_at!: string;
}

export class ReconciliationDto {
  @ApiProperty({ example: true, description: 'Whether billing is on.' })
  is_configured!: boolean;

  @ApiProperty({ type: [AlarmDto], description: 'What needs an operator.' })
  alarms!: AlarmDto[];

  @ApiProperty({ type: OutboxDto, description: 'What waits to be sent.' })
  outbox!: OutboxDto;

  @ApiProperty({ type: [MeterDto], description: 'Where what the ledger holds is.' })
  meters!: MeterDto[];

  @ApiProperty({
    enum: ['enabled', 'disabled', 'missing', 'unknown'],
    example: 'enabled',
    description: "Polar's webhook endpoint for this service; unknown when the token may not ask.",
  })
  webhook_endpoint!: 'enabled' | 'disabled' | 'missing' | 'unknown';

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: '2026-01-31T12:00:00.000Z',
    description: 'When all subscriptions were last read; null: never.',
  })
  reconciled_at!: string | null;

  @ApiProperty({
    type: 'integer',
    example: 120,
    description: 'Customers whose usage was compared with Polar.',
  })
  compared_customers!: number;

  @ApiProperty({ type: [DriftDto], description: 'Customers for whom Polar counts otherwise, at most 100.' })
  drifts!: DriftDto[];

  @ApiProperty({
    type: 'integer',
    example: 0,
    description: 'Accounts that Polar has no customer for, because of another with the same address.',
  })
  customers_without_polar!: number;
}
