import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { AdminAccess } from '../common/access';
import { pageDto, pageRequest } from '../common/pagination';
import { Audit, type AuditFilter } from '../platform/audit/audit';
import { AuditEventDto, AuditEventsDto } from '../platform/audit/audit.dto';
import { AuditQueryDto } from './admin.dto';

@ApiTags('Admin')
@AdminAccess()
@Controller('admin/audit')
export class AdminAuditController {
  constructor(private readonly audit: Audit) {}

  @Get()
  @ApiOperation({ summary: 'Read the audit log', description: 'Newest first; filters are joined by "and".' })
  @ApiOkResponse({ type: AuditEventsDto, description: 'A page of events.' })
  async list(@Query() query: AuditQueryDto): Promise<AuditEventsDto> {
    return pageDto(await this.audit.list(toFilter(query), pageRequest(query)), AuditEventDto.from);
  }
}

function toFilter({ user_id, action, from, to }: AuditQueryDto): AuditFilter {
  return {
    userId: user_id,
    action,
    from: from === undefined ? undefined : new Date(from),
    to: to === undefined ? undefined : new Date(to),
  };
}
