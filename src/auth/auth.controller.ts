import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Public } from '../common/access';
import { Origin, type RequestOrigin } from '../common/origin';
import { ApiProblems } from '../common/problem-docs';
import { RateLimited } from '../limits/rate-limit.decorator';
import { UserErrors } from '../users/users.errors';
import { UserDto } from '../users/users.dto';
import { TwoFactorErrors } from '../two-factor/two-factor.errors';
import { RegisterDto } from './auth.dto';
import { AuthErrors } from './auth.errors';
import { AuthService, type Registration } from './auth.service';
import { LoginDto, LoginResultDto } from './login.dto';
import { LoginService } from './login.service';
import { LoginSecondStepDto } from './two-factor.dto';

@ApiTags('Authentication')
@Public()
@Controller('auth')
export class AuthController {
  constructor(
    private readonly auth: AuthService,
    private readonly logins: LoginService,
  ) {}

  @Post('register')
  @HttpCode(200)
  @RateLimited('register-minute', 'register-hour')
  @ApiOperation({
    summary: 'Sign up',
    description: 'Makes an account and mails a link that proves the address.',
  })
  @ApiOkResponse({ type: UserDto, description: 'The new account.' })
  @ApiProblems(UserErrors.emailTaken, AuthErrors.weakPassword)
  async register(@Body() body: RegisterDto, @Origin() origin: RequestOrigin): Promise<UserDto> {
    return UserDto.from(await this.auth.register(toRegistration(body), origin));
  }

  @Post('login')
  @HttpCode(200)
  @RateLimited('login')
  @ApiOperation({
    summary: 'Log in',
    description:
      'Gives an access token for the routes that need one. With two-factor authentication on it also asks for two_factor_code; without one the answer holds a challenge_token for the second step.',
  })
  @ApiOkResponse({ type: LoginResultDto, description: 'An access token and whose it is.' })
  @ApiProblems(AuthErrors.invalidLogin, TwoFactorErrors.required)
  async login(@Body() body: LoginDto, @Origin() origin: RequestOrigin): Promise<LoginResultDto> {
    const { email, password, two_factor_code, device_token } = body;
    return LoginResultDto.fromLogin(
      await this.logins.login({ email, password, code: two_factor_code, deviceToken: device_token }, origin),
    );
  }

  @Post('login/two-factor')
  @HttpCode(200)
  @RateLimited('login')
  @ApiOperation({
    summary: 'Second step of a log-in',
    description: 'With the challenge_token that a log-in without a code answered, within 5 minutes.',
  })
  @ApiOkResponse({ type: LoginResultDto, description: 'An access token and whose it is.' })
  @ApiProblems(TwoFactorErrors.loginRefused)
  async loginSecondStep(
    @Body() { challenge_token, two_factor_code, device_token }: LoginSecondStepDto,
    @Origin() origin: RequestOrigin,
  ): Promise<LoginResultDto> {
    return LoginResultDto.fromLogin(
      await this.logins.secondStep(challenge_token, two_factor_code, device_token, origin),
    );
  }
}

function toRegistration({ email, password, first_name, last_name, company }: RegisterDto): Registration {
  return {
    email,
    password,
    firstName: first_name || null,
    lastName: last_name || null,
    company: company || null,
  };
}
