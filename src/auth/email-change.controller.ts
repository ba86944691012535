import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Public, UserAccess } from '../common/access';
import { MessageDto } from '../common/message.dto';
import { Origin, type RequestOrigin } from '../common/origin';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { RecentSecondFactor } from '../common/recent-second-factor';
import { RateLimited } from '../limits/rate-limit.decorator';
import { ChangeEmailDto, MailedTokenDto } from './auth.dto';
import { AuthErrors } from './auth.errors';
import { EmailChangeService } from './email-change.service';

@ApiTags('Account')
@Controller('auth/me/email')
export class EmailChangeController {
  constructor(private readonly emailChange: EmailChangeService) {}

  @Post()
  @UserAccess()
  @HttpCode(200)
  @RateLimited('email-change', 'email-change-email')
  @RecentSecondFactor()
  @ApiOperation({
    summary: 'Ask for another e-mail address',
    description:
      'Mails a link to the new address. The account changes when that link is used, within an hour. The answer is the same whether somebody else has the address or not.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'A mail is on its way to the new address.' })
  @ApiProblems(AuthErrors.wrongPassword, AuthErrors.emailUnchanged)
  async request(
    @CurrentPrincipal() principal: UserPrincipal,
    @Body() { new_email, current_password }: ChangeEmailDto,
    @Origin() origin: RequestOrigin,
  ): Promise<MessageDto> {
    await this.emailChange.request(principal, new_email, current_password, origin);
    return { message: 'A mail is on its way to the new address; open its link there' };
  }

  @Post('confirm')
  @Public()
  @HttpCode(200)
  @ApiOperation({
    summary: 'Take the new e-mail address',
    description:
      'With the token that was mailed there. The old address is told, and can undo it for seven days.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'The account has its new address.' })
  @ApiProblems(AuthErrors.invalidEmailToken)
  async confirm(@Body() { token }: MailedTokenDto, @Origin() origin: RequestOrigin): Promise<MessageDto> {
    await this.emailChange.confirm(token, origin);
    return { message: 'E-mail address changed; log in with the new one from now on' };
  }

  @Post('undo')
  @Public()
  @HttpCode(200)
  @ApiOperation({
    summary: 'Take the old e-mail address back',
    description:
      'With the token that was mailed to the old address, for seven days after a change. Ends the password, all sessions and the API keys made since, and mails a link that sets a new password.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'The account has its old address again.' })
  @ApiProblems(AuthErrors.invalidEmailToken)
  async undo(@Body() { token }: MailedTokenDto, @Origin() origin: RequestOrigin): Promise<MessageDto> {
    await this.emailChange.undo(token, origin);
    return { message: 'E-mail address restored; choose a new password with the link that was mailed' };
  }
}
