import { Body, Controller, HttpCode, Param, Post, Put } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { EntityManager } from 'typeorm';
import { ApiKeyDto } from '../api-keys/api-key.dto';
import { ApiKeyErrors } from '../api-keys/api-keys.errors';
import { KeyAdministration } from '../api-keys/key-administration.service';
import { KeyImport } from '../api-keys/key-import.service';
import { AdminAccess } from '../common/access';
import { BodyLimit } from '../common/body-limit';
import { Clock } from '../common/clock';
import { IdDto } from '../common/id.dto';
import { Origin, type RequestOrigin } from '../common/origin';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { RecentSecondFactor } from '../common/recent-second-factor';
import { CurrentTransaction, Idempotent } from '../platform/idempotency/idempotent';
import {
  ImportKeysDto,
  ImportResultDto,
  ImportResultsDto,
  ServicePermissionsDto,
} from './admin-api-keys.dto';

const IMPORT_BYTES_MAX = 1024 * 1024;

@ApiTags('Admin')
@AdminAccess()
@Controller('admin/api-keys')
export class AdminApiKeysController {
  constructor(
    private readonly keys: KeyAdministration,
    private readonly importing: KeyImport,
    private readonly clock: Clock,
  ) {}

  @Post('import')
  @HttpCode(200)
  @Idempotent()
  @BodyLimit(IMPORT_BYTES_MAX)
  @RecentSecondFactor()
  @ApiOperation({
    summary: 'Take over API keys that customers have',
    description:
      'By their SHA-256, so that nobody but their owners knows them. What can be taken is; every other key is told apart. See docs/gateway.md.',
  })
  @ApiOkResponse({ type: ImportResultsDto, description: 'What became of each key.' })
  async import(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Body() { keys }: ImportKeysDto,
    @Origin() origin: RequestOrigin,
    @CurrentTransaction() tx?: EntityManager,
  ): Promise<ImportResultsDto> {
    const foreign = keys.map((key) => key.toForeignKey());
    const outcomes = await this.importing.import(foreign, { id: userId, origin }, tx);
    return { results: outcomes.map(ImportResultDto.from) };
  }

  @Put(':id/permissions')
  @RecentSecondFactor()
  @ApiOperation({
    summary: 'Set the service permissions of an API key',
    description:
      "For the operator's own services: `keys:verify` asks about keys, `usage:write` reports usage. No key has them otherwise.",
  })
  @ApiOkResponse({ type: ApiKeyDto, description: 'The key as it is now.' })
  @ApiProblems(ApiKeyErrors.nobodys)
  async grant(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Param() { id }: IdDto,
    @Body() { service_permissions: permissions }: ServicePermissionsDto,
    @Origin() origin: RequestOrigin,
  ): Promise<ApiKeyDto> {
    const key = await this.keys.grant(id, permissions, { id: userId, origin });
    return ApiKeyDto.from(key, this.clock.now());
  }
}
