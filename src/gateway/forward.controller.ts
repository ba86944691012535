import { All, Controller, Get, HttpCode, Query, Res } from '@nestjs/common';
import {
  ApiExcludeEndpoint,
  ApiNoContentResponse,
  ApiOperation,
  ApiPropertyOptional,
  ApiTags,
} from '@nestjs/swagger';
import { IsString, Length } from 'class-validator';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ApiKeyErrors } from '../api-keys/api-keys.errors';
import { ApiKeyAccess, type AskedPermission } from '../common/access';
import { HeadersOnly } from '../common/body-limit';
import { Optional } from '../common/optional';
import { type ApiKeyPrincipal, CurrentPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { meteredPolicies } from '../limits/policies';
import { RateLimited } from '../limits/rate-limit.decorator';
import { UsageErrors } from '../usage/usage.errors';
import { CapLook } from './cap-look';

export class ForwardQueryDto {
  @ApiPropertyOptional({
    minLength: 1,
    maxLength: 64,
    example: 'read',
    description: 'The permission that the operation behind needs; absent: any key will do.',
  })
  @Optional()
  @IsString()
  @Length(1, 64)
  permission?: string;
}

const described = (description: string): { description: string; schema: { type: 'string' } } => ({
  description,
  schema: { type: 'string' },
});

/** With a path behind ours, which is that of the client's request, the query is the client's too: he must not choose. */
const askedPermission: AskedPermission = ({ params, query }: FastifyRequest) => {
  const { permission } = query as { permission?: string | string[] };
  return permission === undefined || Object.hasOwn(params as object, '*') ? undefined : String(permission);
};

/** Asked by a proxy with the headers of the request it is about to pass on. */
@ApiTags('Gateway')
@ApiKeyAccess(askedPermission)
@Controller('auth/forward')
export class ForwardController {
  constructor(private readonly caps: CapLook) {}

  @Get()
  @HeadersOnly()
  @HttpCode(204)
  @RateLimited(...meteredPolicies)
  @ApiOperation({
    summary: 'May this request pass?',
    description:
      'For nginx `auth_request`, Traefik ForwardAuth and Envoy ext_authz. The API key is that of the request; 204 lets it pass and counts it as a call. Asked with another method it answers the same; a body is not read.',
  })
  @ApiNoContentResponse({
    description: 'Pass it on, with these headers.',
    headers: {
      'X-User-Id': described('Id of the owner of the key.'),
      'X-Api-Key-Id': described('Id of the key.'),
      'X-Plan': described("The owner's plan."),
    },
  })
  @ApiProblems(ApiKeyErrors.unknownPermissions, UsageErrors.budgetExceeded, UsageErrors.quotaExceeded)
  forward(
    @CurrentPrincipal() principal: ApiKeyPrincipal,
    @Query() _query: ForwardQueryDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<void> {
    return this.pass(principal, reply);
  }

  /** Envoy asks with the method of the request, and with its path behind ours. */
  @All('*')
  @HeadersOnly()
  @HttpCode(204)
  @RateLimited(...meteredPolicies)
  @ApiExcludeEndpoint()
  forwardPath(
    @CurrentPrincipal() principal: ApiKeyPrincipal,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<void> {
    return this.pass(principal, reply);
  }

  /** @throws ApiError `budget_exceeded`, `quota_exceeded`. */
  private async pass(principal: ApiKeyPrincipal, reply: FastifyReply): Promise<void> {
    const { full } = await this.caps.look(principal);
    if (full) throw full.refusal;
    void reply.headers({
      'x-user-id': principal.userId,
      'x-api-key-id': principal.apiKeyId,
      'x-plan': principal.tier,
    });
  }
}
