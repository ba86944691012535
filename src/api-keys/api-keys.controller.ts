import { Body, Controller, Delete, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { EntityManager } from 'typeorm';
import { UserAccess } from '../common/access';
import { IdDto } from '../common/id.dto';
import { MessageDto } from '../common/message.dto';
import { Origin, type RequestOrigin } from '../common/origin';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { RecentSecondFactor } from '../common/recent-second-factor';
import { RateLimited } from '../limits/rate-limit.decorator';
import { CurrentTransaction, Idempotent } from '../platform/idempotency/idempotent';
import { ApiKeyDto, CreateApiKeyDto, CreatedApiKeyDto } from './api-keys.dto';
import { ApiKeyErrors } from './api-keys.errors';
import { ApiKeysService, type NewApiKey } from './api-keys.service';

@ApiTags('API keys')
@UserAccess()
@Controller('auth/api-keys')
export class ApiKeysController {
  constructor(private readonly apiKeys: ApiKeysService) {}

  @Post()
  @HttpCode(200)
  @Idempotent()
  @RateLimited('key-creation', 'key-creation-address')
  @RecentSecondFactor()
  @ApiOperation({
    summary: 'Create an API key',
    description: 'The key is in this answer and nowhere else: keep it.',
  })
  @ApiOkResponse({ type: CreatedApiKeyDto, description: 'The key and what is known about it.' })
  @ApiProblems(
    ApiKeyErrors.unknownPermissions,
    ApiKeyErrors.expiresInThePast,
    ApiKeyErrors.rateLimitAbovePlan,
    ApiKeyErrors.limitReached,
    ApiKeyErrors.emailNotVerified,
  )
  async create(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Body() body: CreateApiKeyDto,
    @Origin() origin: RequestOrigin,
    @CurrentTransaction() tx?: EntityManager,
  ): Promise<CreatedApiKeyDto> {
    const { key, apiKey } = await this.apiKeys.create(userId, toNewApiKey(body), origin, tx);
    return { api_key: key, api_key_info: ApiKeyDto.from(apiKey) };
  }

  @Get()
  @ApiOperation({ summary: 'List own API keys', description: 'Inactive keys too, newest first.' })
  @ApiOkResponse({ type: [ApiKeyDto], description: 'The keys.' })
  async list(@CurrentPrincipal() { userId }: UserPrincipal): Promise<ApiKeyDto[]> {
    return (await this.apiKeys.list(userId)).map(ApiKeyDto.from);
  }

  @Delete(':id')
  @ApiOperation({ summary: 'Deactivate an API key', description: 'For good; the key stays in the list.' })
  @ApiOkResponse({ type: MessageDto, description: 'The key opens nothing any more.' })
  @ApiProblems(ApiKeyErrors.notFound)
  async deactivate(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Param() { id }: IdDto,
    @Origin() origin: RequestOrigin,
  ): Promise<MessageDto> {
    await this.apiKeys.deactivate(userId, id, origin);
    return { message: 'API key deactivated' };
  }
}

function toNewApiKey({ name, permissions, rate_limit_per_minute, expires_at }: CreateApiKeyDto): NewApiKey {
  return {
    name,
    permissions: permissions ?? {},
    rateLimitPerMinute: rate_limit_per_minute ?? undefined,
    expiresAt: expires_at ? new Date(expires_at) : null,
  };
}
