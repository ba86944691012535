import { Controller, Get, Req } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { UserAccess } from '../common/access';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { LimitDto, LimitsDto } from './limits.dto';
import { claimsOf, limitFor, policyNames } from './policies';
import { RateLimiter } from './rate-limiter';

@ApiTags('Account')
@UserAccess()
@Controller('auth/me/limits')
export class LimitsController {
  constructor(private readonly limiter: RateLimiter) {}

  @Get()
  @ApiOperation({
    summary: 'Own rate limits',
    description: 'Every policy, and where you and your address stand. Asking takes a place of `user` alone.',
  })
  @ApiOkResponse({ type: LimitsDto, description: 'The limits in force.' })
  async list(
    @CurrentPrincipal() principal: UserPrincipal,
    @Req() { ip }: FastifyRequest,
  ): Promise<LimitsDto> {
    const claims = claimsOf(policyNames, { principal, ip, email: undefined });
    const { states } = await this.limiter.look(claims);
    const limits = policyNames.map((name) =>
      LimitDto.from(
        name,
        limitFor(name, principal),
        states.find(({ claim }) => claim.policy === name),
      ),
    );
    return { plan: principal.tier, limits };
  }
}
