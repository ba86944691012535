import { ApiProperty } from '@nestjs/swagger';
import { type Tier, tiers } from '../common/principal';
import type { ClaimState } from './decision';
import { policies, type Policy, type PolicyName, scopes, type Scope, type Unit, units } from './policies';

export class LimitDto {
  @ApiProperty({ example: 'user', description: 'Name of the policy, as `RateLimit-Policy` has it.' })
  name!: string;

  @ApiProperty({
    enum: scopes,
    example: 'user',
    description:
      'Who shares the limit: all behind an address (IPv6: its /64), one user, one API key, one e-mail.',
  })
  counted_per!: Scope;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: 1_200,
    description:
      'How much in any span of `window_seconds`; of an API key, the most it may be given. Null: no limit.',
  })
  limit!: number | null;

  @ApiProperty({ enum: units, example: 'requests', description: 'What is counted.' })
  unit!: Unit;

  @ApiProperty({ type: 'integer', example: 60, description: 'Length of the window, in seconds.' })
  window_seconds!: number;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: 1_199,
    description: 'What is left to you now; null when the limit is not counted per user or address.',
  })
  remaining!: number | null;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: 60,
    description: 'Seconds until the next place frees; 0 when none is taken.',
  })
  reset_seconds!: number | null;

  /** @param state of the caller, when the policy counts him. */
  static from(name: PolicyName, limit: number | null, state: ClaimState | undefined): LimitDto {
    const { scope, windowSeconds, unit = 'requests' }: Policy = policies[name];
    return Object.assign(new LimitDto(), {
      name,
      counted_per: scope,
      limit,
      unit,
      window_seconds: windowSeconds,
      remaining: state?.remaining ?? null,
      reset_seconds: state ? Math.ceil(state.resetMs / 1_000) : null,
    });
  }
}

export class LimitsDto {
  @ApiProperty({ enum: tiers, example: 'free', description: 'The plan in force.' })
  plan!: Tier;

  @ApiProperty({ type: [LimitDto], description: 'Every rate limit of the service.' })
  limits!: LimitDto[];
}
