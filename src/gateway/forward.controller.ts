import { All, Controller, Get, HttpCode, Query, Res } from '@nestjs/common';
import {
  ApiExcludeEndpoint,
  ApiNoContentResponse,
  ApiOperation,
  ApiPropertyOptional,
  ApiTags,
} from '@nestjs/swagger';
import { IsString, Length } from 'class-validator';
import type { FastifyReply } from 'fastify';
import { ApiKeyErrors } from '../api-keys/api-keys.errors';
import { allows } from '../api-keys/permissions';
import { ApiKeyAccess } from '../common/access';
import { HeadersOnly } from '../common/body-limit';
import { CommonErrors } from '../common/common.errors';
import { Optional } from '../common/optional';
import { type ApiKeyPrincipal, CurrentPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { meteredPolicies } from '../limits/policies';
import { RateLimited } from '../limits/rate-limit.decorator';
import { UsageErrors } from '../usage/usage.errors';
import { AskedPermissions } from './asked-permissions';
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

/** Asked by a proxy with the headers of the request it is about to pass on. */
@ApiTags('Gateway')
@ApiKeyAccess(null)
@Controller('auth/forward')
export class ForwardController {
  constructor(
    private readonly caps: CapLook,
    private readonly permissions: AskedPermissions,
  ) {}

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
  @ApiProblems(
    ApiKeyErrors.unknownPermissions,
    CommonErrors.insufficientPermissions,
    UsageErrors.budgetExceeded,
    UsageErrors.quotaExceeded,
  )
  forward(
    @CurrentPrincipal() principal: ApiKeyPrincipal,
    @Query() { permission }: ForwardQueryDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<void> {
    return this.pass(principal, permission, reply);
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
    return this.pass(principal, undefined, reply);
  }

  /** @throws ApiError `unknown_permissions`, `insufficient_permissions`, `budget_exceeded`, `quota_exceeded`. */
  private async pass(
    principal: ApiKeyPrincipal,
    permission: string | undefined,
    reply: FastifyReply,
  ): Promise<void> {
    this.permissions.check(permission);
    if (permission !== undefined && !allows(principal, permission))
      throw CommonErrors.insufficientPermissions(permission);
    const { full } = await this.caps.look(principal);
    if (full) throw full.refusal;
    void reply.headers({
      'x-user-id': principal.userId,
      'x-api-key-id': principal.apiKeyId,
      'x-plan': principal.tier,
    });
  }
}
