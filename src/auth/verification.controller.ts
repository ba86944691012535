import { Body, Controller, HttpCode, Post, Query } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Public } from '../common/access';
import { MessageDto } from '../common/message.dto';
import { Origin, type RequestOrigin } from '../common/origin';
import { ApiProblems } from '../common/problem-docs';
import { RateLimited } from '../limits/rate-limit.decorator';
import { EmailDto, MailedTokenDto, VerificationTokenDto, VerifyEmailDto } from './auth.dto';
import { AuthErrors } from './auth.errors';
import { VerificationService } from './verification.service';

@ApiTags('Account')
@Public()
@Controller('auth/verify-email')
export class VerificationController {
  constructor(private readonly verification: VerificationService) {}

  @Post()
  @HttpCode(200)
  @RateLimited('verify-email')
  @ApiOperation({
    summary: 'Prove the e-mail address',
    description:
      'Takes the token of the mailed link, from the body or the query, or the address with the six-digit code of the mail. Each works once.',
  })
  @ApiBody({ type: VerifyEmailDto, required: false })
  @ApiOkResponse({ type: MessageDto, description: 'The address is proven.' })
  @ApiProblems(AuthErrors.invalidVerificationToken)
  async verify(
    @Body() body: VerifyEmailDto,
    @Query() query: VerificationTokenDto,
    @Origin() origin: RequestOrigin,
  ): Promise<MessageDto> {
    const { token = query.token, email, code } = body;
    await this.verification.verify({ token, email, code }, origin);
    return { message: 'Email verified successfully' };
  }

  @Post('not-me')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Say that you did not sign up',
    description:
      'With the token of the second link of a verification mail. Ends the password, sessions and API keys of the account.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'Nothing that was made in the account works any more.' })
  @ApiProblems(AuthErrors.invalidVerificationToken)
  async notMe(@Body() { token }: MailedTokenDto, @Origin() origin: RequestOrigin): Promise<MessageDto> {
    await this.verification.disown(token, origin);
    return { message: 'The password, sessions and API keys of the account were ended' };
  }

  @Post('resend')
  @HttpCode(200)
  @RateLimited('resend-email', 'resend-address')
  @ApiOperation({
    summary: 'Mail the verification link and code again',
    description:
      'The earlier ones end. The answer is the same whether there is such an account, and whether it is verified, or not.',
  })
  @ApiOkResponse({
    type: MessageDto,
    description: 'If the address waits to be verified, a mail is on its way.',
  })
  async resend(@Body() { email }: EmailDto): Promise<MessageDto> {
    await this.verification.resend(email);
    return { message: 'If this address waits to be verified, a mail is on its way' };
  }
}
