import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { EntityManager } from 'typeorm';
import { UserAccess } from '../common/access';
import { Clock } from '../common/clock';
import { IdDto } from '../common/id.dto';
import { MessageDto } from '../common/message.dto';
import { Origin, type RequestOrigin } from '../common/origin';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { RecentSecondFactor } from '../common/recent-second-factor';
import { RateLimited } from '../limits/rate-limit.decorator';
import { CurrentTransaction, Idempotent } from '../platform/idempotency/idempotent';
import { ApiKeyDto, CreatedApiKeyDto } from './api-key.dto';
import { ChangeApiKeyDto, CreateApiKeyDto, RotateApiKeyDto, toSettings, VersionIdDto } from './api-keys.dto';
import { ApiKeyErrors } from './api-keys.errors';
import { ApiKeysService, type RevealedApiKey } from './api-keys.service';
import { KeyRotation } from './key-rotation.service';

@ApiTags('API keys')
@UserAccess()
@Controller('auth/api-keys')
export class ApiKeysController {
  constructor(
    private readonly apiKeys: ApiKeysService,
    private readonly rotation: KeyRotation,
    private readonly clock: Clock,
  ) {}

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
    @CurrentPrincipal() principal: UserPrincipal,
    @Body() { name, environment = 'live', ...settings }: CreateApiKeyDto,
    @Origin() origin: RequestOrigin,
    @CurrentTransaction() tx?: EntityManager,
  ): Promise<CreatedApiKeyDto> {
    const input = { name, environment, ...toSettings(settings) };
    return this.reveal(await this.apiKeys.create(principal, input, origin, tx));
  }

  @Get()
  @ApiOperation({
    summary: 'List own API keys',
    description:
      'Inactive keys too, newest first; of more than 1,000 all active ones that fit, and the newest of the others.',
  })
  @ApiOkResponse({ type: [ApiKeyDto], description: 'The keys.' })
  async list(@CurrentPrincipal() { userId }: UserPrincipal): Promise<ApiKeyDto[]> {
    const now = this.clock.now();
    return (await this.apiKeys.list(userId)).map((key) => ApiKeyDto.from(key, now));
  }

  @Get(':id')
  @ApiOperation({ summary: 'One own API key' })
  @ApiOkResponse({ type: ApiKeyDto, description: 'The key.' })
  @ApiProblems(ApiKeyErrors.notFound)
  async find(@CurrentPrincipal() { userId }: UserPrincipal, @Param() { id }: IdDto): Promise<ApiKeyDto> {
    return ApiKeyDto.from(await this.apiKeys.find(userId, id), this.clock.now());
  }

  @Patch(':id')
  @RecentSecondFactor()
  @ApiOperation({
    summary: 'Change an API key',
    description: 'What is left out stays. In force within a second, without a new key.',
  })
  @ApiOkResponse({ type: ApiKeyDto, description: 'The key as it is now.' })
  @ApiProblems(
    ApiKeyErrors.notFound,
    ApiKeyErrors.inactive,
    ApiKeyErrors.unknownPermissions,
    ApiKeyErrors.expiresInThePast,
    ApiKeyErrors.rateLimitAbovePlan,
  )
  async change(
    @CurrentPrincipal() principal: UserPrincipal,
    @Param() { id }: IdDto,
    @Body() body: ChangeApiKeyDto,
    @Origin() origin: RequestOrigin,
  ): Promise<ApiKeyDto> {
    const key = await this.apiKeys.change(principal, id, toSettings(body), origin);
    return ApiKeyDto.from(key, this.clock.now());
  }

  @Post(':id/rotate')
  @HttpCode(200)
  @Idempotent()
  @RateLimited('key-creation', 'key-creation-address')
  @RecentSecondFactor()
  @ApiOperation({
    summary: 'Give an API key a new secret',
    description:
      'The key stays what it is: its id, name, limits, budget and usage. Its old secret goes on working for the overlap, so that your backends can change over one after the other.',
  })
  @ApiOkResponse({ type: CreatedApiKeyDto, description: 'The new secret and what is known about the key.' })
  @ApiProblems(ApiKeyErrors.notFound, ApiKeyErrors.inactive, ApiKeyErrors.tooManyVersions)
  async rotate(
    @CurrentPrincipal() principal: UserPrincipal,
    @Param() { id }: IdDto,
    @Body() { overlap_hours: overlapHours }: RotateApiKeyDto,
    @Origin() origin: RequestOrigin,
    @CurrentTransaction() tx?: EntityManager,
  ): Promise<CreatedApiKeyDto> {
    return this.reveal(await this.rotation.rotate(principal, id, overlapHours, origin, tx));
  }

  @Delete(':id/versions/:version_id')
  @ApiOperation({
    summary: 'End an old secret of an API key',
    description: 'Before its overlap is over, for instance when the key says `safe_to_end`.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'The old secret opens nothing any more.' })
  @ApiProblems(ApiKeyErrors.notFound, ApiKeyErrors.versionNotFound)
  async endVersion(
    @CurrentPrincipal() principal: UserPrincipal,
    @Param() { id, version_id: versionId }: VersionIdDto,
    @Origin() origin: RequestOrigin,
  ): Promise<MessageDto> {
    await this.rotation.endVersion(principal, id, versionId, origin);
    return { message: 'Old secret ended' };
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

  private reveal({ key, apiKey }: RevealedApiKey): CreatedApiKeyDto {
    return { api_key: key, api_key_info: ApiKeyDto.from(apiKey, this.clock.now()) };
  }
}
