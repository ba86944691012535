import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { UserAccess } from '../../common/access';
import { pageDto, PageQueryDto, pageRequest } from '../../common/pagination';
import { CurrentPrincipal, type UserPrincipal } from '../../common/principal';
import { Audit } from './audit';
import { OwnEventDto, OwnEventsDto } from './audit.dto';

@ApiTags('Account')
@UserAccess()
@Controller('auth/me/audit')
export class AuditController {
  constructor(private readonly audit: Audit) {}

  @Get()
  @ApiOperation({
    summary: 'What happened to the own account',
    description: 'Log-ins, keys, and every other security event, newest first.',
  })
  @ApiOkResponse({ type: OwnEventsDto, description: 'A page of events.' })
  async own(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Query() query: PageQueryDto,
  ): Promise<OwnEventsDto> {
    return pageDto(await this.audit.list({ subjectId: userId }, pageRequest(query)), OwnEventDto.from);
  }
}
