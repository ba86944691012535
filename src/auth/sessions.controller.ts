import { Body, Controller, Delete, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Public, UserAccess } from '../common/access';
import { IdDto } from '../common/id.dto';
import { MessageDto } from '../common/message.dto';
import { Origin, type RequestOrigin } from '../common/origin';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { AuthErrors } from './auth.errors';
import { AuthService } from './auth.service';
import { RefreshDto, RefreshResultDto, SessionDto } from './sessions.dto';
import { SessionsService } from './sessions.service';

@ApiTags('Sessions')
@Controller('auth')
export class SessionsController {
  constructor(
    private readonly auth: AuthService,
    private readonly sessions: SessionsService,
  ) {}

  @Post('refresh')
  @Public()
  @HttpCode(200)
  @ApiOperation({
    summary: 'Get a new access token',
    description:
      'The refresh token is exchanged for its successor: keep that one. The same answer is repeated for ten seconds. A token that comes back later was stolen or copied, and ends the session.',
  })
  @ApiOkResponse({ type: RefreshResultDto, description: 'A new access token, and the next refresh token.' })
  @ApiProblems(AuthErrors.invalidRefreshToken)
  async refresh(
    @Body() { refresh_token }: RefreshDto,
    @Origin() origin: RequestOrigin,
  ): Promise<RefreshResultDto> {
    return RefreshResultDto.from(await this.auth.refresh(refresh_token, origin));
  }

  @Post('logout')
  @UserAccess()
  @HttpCode(200)
  @ApiOperation({
    summary: 'Log out',
    description: 'Ends this session: its access and refresh tokens open nothing any more.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'The session is over.' })
  async logout(
    @CurrentPrincipal() { userId, sessionId }: UserPrincipal,
    @Origin() origin: RequestOrigin,
  ): Promise<MessageDto> {
    await this.sessions.end(userId, sessionId, origin);
    return { message: 'Logged out' };
  }

  @Get('sessions')
  @UserAccess()
  @ApiOperation({
    summary: 'List own sessions',
    description:
      'Where you are logged in, last used first. Where there are 100, a further log-in ends the one that was not used for the longest time.',
  })
  @ApiOkResponse({ type: [SessionDto], description: 'The sessions.' })
  async list(@CurrentPrincipal() { userId, sessionId }: UserPrincipal): Promise<SessionDto[]> {
    return (await this.sessions.list(userId)).map((session) => SessionDto.from(session, sessionId));
  }

  @Delete('sessions/:id')
  @UserAccess()
  @ApiOperation({ summary: 'End one session' })
  @ApiOkResponse({ type: MessageDto, description: 'The session is over.' })
  @ApiProblems(AuthErrors.sessionNotFound)
  async end(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Param() { id }: IdDto,
    @Origin() origin: RequestOrigin,
  ): Promise<MessageDto> {
    if (!(await this.sessions.end(userId, id, origin))) throw AuthErrors.sessionNotFound();
    return { message: 'Session ended' };
  }

  @Delete('sessions')
  @UserAccess()
  @ApiOperation({
    summary: 'End all other sessions',
    description: 'This one goes on. A change of the e-mail address that waits to be confirmed ends too.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'All other sessions are over.' })
  async endOthers(
    @CurrentPrincipal() principal: UserPrincipal,
    @Origin() origin: RequestOrigin,
  ): Promise<MessageDto> {
    await this.sessions.endOthers(principal, origin);
    return { message: 'All other sessions ended' };
  }
}
