import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Public, UserAccess } from '../common/access';
import { MessageDto } from '../common/message.dto';
import { Origin, type RequestOrigin } from '../common/origin';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { RecentSecondFactor } from '../common/recent-second-factor';
import { RateLimited } from '../limits/rate-limit.decorator';
import { ChangePasswordDto, ConfirmResetDto, EmailDto } from './auth.dto';
import { AuthErrors } from './auth.errors';
import { PasswordService } from './password.service';

@ApiTags('Password')
@Controller('auth/password')
export class PasswordController {
  constructor(private readonly passwords: PasswordService) {}

  @Post('change')
  @UserAccess()
  @HttpCode(200)
  @RateLimited('password-change')
  @RecentSecondFactor()
  @ApiOperation({ summary: 'Change the password', description: 'Ends all other sessions; API keys go on.' })
  @ApiOkResponse({ type: MessageDto, description: 'The password is changed.' })
  @ApiProblems(AuthErrors.wrongPassword, AuthErrors.weakPassword)
  async change(
    @CurrentPrincipal() principal: UserPrincipal,
    @Body() body: ChangePasswordDto,
    @Origin() origin: RequestOrigin,
  ): Promise<MessageDto> {
    await this.passwords.change(principal, body.current_password, body.new_password, origin);
    return { message: 'Password changed' };
  }

  @Post('reset')
  @Public()
  @HttpCode(200)
  @RateLimited('reset-email', 'reset-address')
  @ApiOperation({
    summary: 'Ask for a new password',
    description: 'Mails a link. The answer is the same whether there is such an account or not.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'If there is such an account, a mail is on its way.' })
  async requestReset(@Body() { email }: EmailDto, @Origin() origin: RequestOrigin): Promise<MessageDto> {
    await this.passwords.requestReset(email, origin);
    return { message: 'If there is an account with this address, a mail is on its way' };
  }

  @Post('reset/confirm')
  @Public()
  @HttpCode(200)
  @ApiOperation({
    summary: 'Set a new password',
    description: 'With the token of the mailed link, which works once. Ends all sessions.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'The password is set.' })
  @ApiProblems(AuthErrors.invalidResetToken, AuthErrors.weakPassword)
  async reset(
    @Body() { token, new_password }: ConfirmResetDto,
    @Origin() origin: RequestOrigin,
  ): Promise<MessageDto> {
    await this.passwords.reset(token, new_password, origin);
    return { message: 'Password set; log in with it' };
  }
}
