import { Body, Controller, Delete, Get, StreamableFile } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { AuthErrors } from '../auth/auth.errors';
import { UserAccess } from '../common/access';
import { MessageDto } from '../common/message.dto';
import { Origin, type RequestOrigin } from '../common/origin';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { RecentSecondFactor } from '../common/recent-second-factor';
import { RateLimited } from '../limits/rate-limit.decorator';
import { AccountExportDto, EraseAccountDto } from './account.dto';
import { AccountErasureService } from './account-erasure.service';
import { AccountExportService } from './account-export.service';

@ApiTags('Account')
@UserAccess()
@Controller('auth/me')
export class AccountController {
  constructor(
    private readonly exports: AccountExportService,
    private readonly erasure: AccountErasureService,
  ) {}

  @Get('export')
  @RateLimited('account-export')
  @ApiOperation({
    summary: 'Everything that is kept about you',
    description: 'One JSON document, sent as it is read: it may be long.',
  })
  @ApiOkResponse({
    type: AccountExportDto,
    description: 'Account, sessions, keys, every call and every event.',
    headers: { 'Content-Disposition': { $ref: '#/components/headers/Content-Disposition' } },
  })
  async export(@CurrentPrincipal() principal: UserPrincipal): Promise<StreamableFile> {
    return new StreamableFile(await this.exports.open(principal), {
      type: 'application/json; charset=utf-8',
      disposition: 'attachment; filename="account.json"',
    });
  }

  @Delete()
  @RateLimited('password-change')
  @RecentSecondFactor()
  @ApiOperation({
    summary: 'Erase the account',
    description:
      'For good. Ends all sessions and keys, erases what is personal, frees the address; what was used and what it cost is kept, of nobody.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'The account is gone.' })
  @ApiProblems(AuthErrors.wrongPassword)
  async erase(
    @CurrentPrincipal() principal: UserPrincipal,
    @Body() { password }: EraseAccountDto,
    @Origin() origin: RequestOrigin,
  ): Promise<MessageDto> {
    await this.erasure.erase(principal, password, origin);
    return { message: 'Account erased' };
  }
}
