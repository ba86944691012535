import { Body, Controller, Delete, Get, HttpCode, Param, Post, Put, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { AdminAccess } from '../common/access';
import { IdDto } from '../common/id.dto';
import { MessageDto } from '../common/message.dto';
import { Origin, type RequestOrigin } from '../common/origin';
import { pageDto, pageRequest } from '../common/pagination';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { RecentSecondFactor } from '../common/recent-second-factor';
import { TwoFactorErrors } from '../two-factor/two-factor.errors';
import { UserErrors } from '../users/users.errors';
import { UsersService } from '../users/users.service';
import { AdminUsersService } from './admin-users.service';
import { AdminUserDto, AdminUsersDto, TierDto, TwoFactorResetDto, UsersQueryDto } from './admin.dto';
import { AdminErrors } from './admin.errors';

@ApiTags('Admin')
@AdminAccess()
@Controller('admin/users')
export class AdminUsersController {
  constructor(
    private readonly users: UsersService,
    private readonly admin: AdminUsersService,
  ) {}

  @Get()
  @ApiOperation({ summary: 'List and search accounts', description: 'Newest first.' })
  @ApiOkResponse({ type: AdminUsersDto, description: 'A page of accounts.' })
  async list(@Query() query: UsersQueryDto): Promise<AdminUsersDto> {
    return pageDto(await this.users.list(query.search, pageRequest(query)), AdminUserDto.from);
  }

  @Get(':id')
  @ApiOperation({ summary: 'One account' })
  @ApiOkResponse({ type: AdminUserDto, description: 'The account.' })
  @ApiProblems(UserErrors.notFound)
  async find(@Param() { id }: IdDto): Promise<AdminUserDto> {
    return AdminUserDto.from(await this.users.lookUp(id));
  }

  @Post(':id/suspend')
  @HttpCode(200)
  @RecentSecondFactor()
  @ApiOperation({
    summary: 'Suspend an account',
    description: 'Its sessions end, and it and its API keys are refused until it is restored.',
  })
  @ApiOkResponse({ type: AdminUserDto, description: 'The account as it is now.' })
  @ApiProblems(UserErrors.notFound, AdminErrors.cannotSuspendYourself)
  async suspend(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Param() { id }: IdDto,
    @Origin() origin: RequestOrigin,
  ): Promise<AdminUserDto> {
    return AdminUserDto.from(await this.admin.suspend(id, { id: userId, origin }));
  }

  @Post(':id/restore')
  @HttpCode(200)
  @RecentSecondFactor()
  @ApiOperation({
    summary: 'End a suspension',
    description: 'Its API keys work again; its user logs in anew.',
  })
  @ApiOkResponse({ type: AdminUserDto, description: 'The account as it is now.' })
  @ApiProblems(UserErrors.notFound)
  async restore(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Param() { id }: IdDto,
    @Origin() origin: RequestOrigin,
  ): Promise<AdminUserDto> {
    return AdminUserDto.from(await this.admin.restore(id, { id: userId, origin }));
  }

  @Put(':id/tier')
  @RecentSecondFactor()
  @ApiOperation({ summary: 'Set the tier of an account', description: 'Over what billing says.' })
  @ApiOkResponse({ type: AdminUserDto, description: 'The account as it is now.' })
  @ApiProblems(UserErrors.notFound)
  async setTier(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Param() { id }: IdDto,
    @Body() { tier }: TierDto,
    @Origin() origin: RequestOrigin,
  ): Promise<AdminUserDto> {
    return AdminUserDto.from(await this.admin.setTier(id, tier, { id: userId, origin }));
  }

  @Delete(':id/sessions')
  @ApiOperation({
    summary: 'End all sessions of an account',
    description: 'Its user is logged out everywhere; API keys go on working.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'Every access token of the account is refused.' })
  @ApiProblems(UserErrors.notFound)
  async endSessions(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Param() { id }: IdDto,
    @Origin() origin: RequestOrigin,
  ): Promise<MessageDto> {
    await this.admin.endSessions(id, { id: userId, origin });
    return { message: 'All sessions ended' };
  }

  @Post(':id/2fa/reset')
  @HttpCode(200)
  @RecentSecondFactor()
  @ApiOperation({
    summary: 'Turn off the second factor of who has lost it',
    description:
      'Mailed to the owner at once; 24 hours later the next log-in without a code turns it off, unless the owner has stopped it. Make sure first who is asking.',
  })
  @ApiOkResponse({ type: TwoFactorResetDto, description: 'When it takes effect.' })
  @ApiProblems(UserErrors.notFound, TwoFactorErrors.notEnabled)
  async resetTwoFactor(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Param() { id }: IdDto,
    @Origin() origin: RequestOrigin,
  ): Promise<TwoFactorResetDto> {
    return TwoFactorResetDto.from(await this.admin.resetTwoFactor(id, { id: userId, origin }));
  }
}
