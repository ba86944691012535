import { Body, Controller, Param, Put } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { ApiKeyDto } from '../api-keys/api-key.dto';
import { ApiKeyErrors } from '../api-keys/api-keys.errors';
import { KeyAdministration } from '../api-keys/key-administration.service';
import { AdminAccess } from '../common/access';
import { Clock } from '../common/clock';
import { IdDto } from '../common/id.dto';
import { Origin, type RequestOrigin } from '../common/origin';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { ServicePermissionsDto } from './admin-api-keys.dto';

@ApiTags('Admin')
@AdminAccess()
@Controller('admin/api-keys')
export class AdminApiKeysController {
  constructor(
    private readonly keys: KeyAdministration,
    private readonly clock: Clock,
  ) {}

  @Put(':id/permissions')
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
