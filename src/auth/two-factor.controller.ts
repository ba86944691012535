import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Public, UserAccess } from '../common/access';
import { MessageDto } from '../common/message.dto';
import { Origin, type RequestOrigin } from '../common/origin';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { RecentSecondFactor } from '../common/recent-second-factor';
import { RateLimited } from '../limits/rate-limit.decorator';
import { TwoFactorErrors } from '../two-factor/two-factor.errors';
import { TwoFactorResets } from '../two-factor/two-factor-resets';
import { SecondFactorService } from './second-factor.service';
import {
  BackupCodesDto,
  PasswordAndCodeDto,
  StopResetDto,
  TwoFactorCodeDto,
  TwoFactorSetupDto,
} from './two-factor.dto';

@ApiTags('Two-factor authentication')
@Controller('auth/2fa')
export class TwoFactorController {
  constructor(
    private readonly secondFactor: SecondFactorService,
    private readonly resets: TwoFactorResets,
  ) {}

  @Post('setup')
  @UserAccess()
  @HttpCode(200)
  @RateLimited('two-factor')
  @RecentSecondFactor()
  @ApiOperation({
    summary: 'Begin to set up an authenticator app',
    description:
      'Nothing is on before POST /auth/2fa/enable, which must follow within 15 minutes. With two-factor authentication on, this moves it to another app; the old one works until then.',
  })
  @ApiOkResponse({ type: TwoFactorSetupDto, description: 'What the app needs to know.' })
  async setUp(@CurrentPrincipal() principal: UserPrincipal): Promise<TwoFactorSetupDto> {
    return TwoFactorSetupDto.from(await this.secondFactor.setUp(principal));
  }

  @Post('enable')
  @UserAccess()
  @HttpCode(200)
  @RateLimited('two-factor')
  @RecentSecondFactor()
  @ApiOperation({
    summary: 'Turn two-factor authentication on',
    description: 'With the first code of the app that was set up. Ends all other sessions; API keys go on.',
  })
  @ApiOkResponse({ type: BackupCodesDto, description: 'It is on. Keep the backup codes.' })
  @ApiProblems(TwoFactorErrors.setupMissing, TwoFactorErrors.wrongCode)
  async enable(
    @CurrentPrincipal() principal: UserPrincipal,
    @Body() { code }: TwoFactorCodeDto,
    @Origin() origin: RequestOrigin,
  ): Promise<BackupCodesDto> {
    return { backup_codes: [...(await this.secondFactor.enable(principal, code, origin))] };
  }

  @Post('verify')
  @UserAccess()
  @HttpCode(200)
  @RateLimited('two-factor')
  @ApiOperation({
    summary: 'Give a second factor again',
    description: 'For ten minutes from now this session may do what asks for one.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'The session has a fresh second factor.' })
  @ApiProblems(TwoFactorErrors.notEnabled, TwoFactorErrors.wrongCode)
  async verify(
    @CurrentPrincipal() principal: UserPrincipal,
    @Body() { code }: TwoFactorCodeDto,
    @Origin() origin: RequestOrigin,
  ): Promise<MessageDto> {
    await this.secondFactor.verify(principal, code, origin);
    return { message: 'Code accepted' };
  }

  @Post('disable')
  @UserAccess()
  @HttpCode(200)
  @RateLimited('two-factor')
  @RecentSecondFactor()
  @ApiOperation({
    summary: 'Turn two-factor authentication off',
    description: 'Ends all other sessions and the backup codes; API keys go on.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'It is off.' })
  @ApiProblems(TwoFactorErrors.notEnabled, TwoFactorErrors.wrongCode)
  async disable(
    @CurrentPrincipal() principal: UserPrincipal,
    @Body() { password, code }: PasswordAndCodeDto,
    @Origin() origin: RequestOrigin,
  ): Promise<MessageDto> {
    await this.secondFactor.disable(principal, password, code, origin);
    return { message: 'Two-factor authentication is off' };
  }

  @Post('backup-codes')
  @UserAccess()
  @HttpCode(200)
  @RateLimited('two-factor')
  @RecentSecondFactor()
  @ApiOperation({ summary: 'Make new backup codes', description: 'The old ones end.' })
  @ApiOkResponse({ type: BackupCodesDto, description: 'The new codes. Keep them.' })
  @ApiProblems(TwoFactorErrors.notEnabled, TwoFactorErrors.wrongCode)
  async replaceBackupCodes(
    @CurrentPrincipal() principal: UserPrincipal,
    @Body() { password, code }: PasswordAndCodeDto,
    @Origin() origin: RequestOrigin,
  ): Promise<BackupCodesDto> {
    const codes = await this.secondFactor.replaceBackupCodes(principal, password, code, origin);
    return { backup_codes: [...codes] };
  }

  @Post('reset/stop')
  @Public()
  @HttpCode(200)
  @ApiOperation({
    summary: 'Stop a reset',
    description: 'With the token of the mail that told of it, before a log-in has used it.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'The second factor stays on.' })
  @ApiProblems(TwoFactorErrors.invalidStopToken)
  async stopReset(@Body() { token }: StopResetDto, @Origin() origin: RequestOrigin): Promise<MessageDto> {
    await this.resets.stop(token, origin);
    return { message: 'Two-factor authentication stays on' };
  }
}
