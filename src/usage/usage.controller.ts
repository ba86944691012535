import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { UserAccess } from '../common/access';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { UsageStatsDto } from './usage.dto';
import { UsageService } from './usage.service';

@ApiTags('Usage')
@UserAccess()
@Controller('auth/usage')
export class UsageController {
  constructor(private readonly usage: UsageService) {}

  @Get('stats')
  @ApiOperation({
    summary: 'What was used and what it cost',
    description:
      'Ever, and since midnight UTC; exact as of the last answered call, or of ten seconds before where the service reads from a replica.',
  })
  @ApiOkResponse({ type: UsageStatsDto, description: 'The sums of the ledger.' })
  async stats(@CurrentPrincipal() { userId }: UserPrincipal): Promise<UsageStatsDto> {
    return UsageStatsDto.from(await this.usage.stats(userId));
  }
}
