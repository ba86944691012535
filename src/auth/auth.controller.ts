import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Public } from '../common/access';
import { Origin, type RequestOrigin } from '../common/origin';
import { ApiProblems } from '../common/problem-docs';
import { RateLimited } from '../limits/rate-limit.decorator';
import { UserErrors } from '../users/users.errors';
import { UserDto } from '../users/users.dto';
import { LoginDto, LoginResultDto, RegisterDto } from './auth.dto';
import { AuthErrors } from './auth.errors';
import { AuthService, type Registration } from './auth.service';

@ApiTags('Account')
@Public()
@Controller('auth')
export class AuthController {
  constructor(private readonly auth: AuthService) {}

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
  @ApiOperation({ summary: 'Log in', description: 'Gives an access token for the routes that need one.' })
  @ApiOkResponse({ type: LoginResultDto, description: 'An access token and whose it is.' })
  @ApiProblems(AuthErrors.invalidLogin)
  async login(@Body() body: LoginDto, @Origin() origin: RequestOrigin): Promise<LoginResultDto> {
    const { email, password, device_token } = body;
    return LoginResultDto.fromLogin(
      await this.auth.login({ email, password, deviceToken: device_token }, origin),
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
