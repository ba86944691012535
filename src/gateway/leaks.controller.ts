import { Body, Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { KeyLeaks } from '../api-keys/key-leaks.service';
import { ApiKeyAccess, Public } from '../common/access';
import { RawBody } from '../common/body-limit';
import { Origin, type RequestOrigin } from '../common/origin';
import { type ApiKeyPrincipal, CurrentPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { GatewayErrors } from './gateway.errors';
import { GithubLeaks, type LeakSignature } from './github-leaks.service';
import { LeakVerdictDto, ReportedLeakDto, ReportLeakDto } from './leaks.dto';

const BODY_BYTES_MAX = 1024 * 1024;

/** Takes reports of keys that others can read: such a key becomes compromised, and its owner is told. */
@ApiTags('Gateway')
@Controller('keys/leaks')
export class LeaksController {
  constructor(
    private readonly github: GithubLeaks,
    private readonly leaks: KeyLeaks,
  ) {}

  @Post()
  @Public()
  @HttpCode(200)
  @RawBody(BODY_BYTES_MAX)
  @ApiOperation({
    summary: "Take a report of GitHub's secret scanning",
    description:
      'By the secret scanning partner program: a JSON array of `{ token, type, url }`, signed in `Github-Public-Key-Identifier` and `Github-Public-Key-Signature`. Each key of ours is ended for good; again changes nothing.',
  })
  @ApiOkResponse({ type: [LeakVerdictDto], description: 'What each of them is, in their order.' })
  @ApiProblems(GatewayErrors.badLeakSignature, GatewayErrors.signersUnavailable)
  async take(
    @Req() { body, headers }: FastifyRequest,
    @Origin() origin: RequestOrigin,
  ): Promise<LeakVerdictDto[]> {
    return (await this.github.take(body, signatureOf(headers), origin)).map(LeakVerdictDto.from);
  }

  @Post('report')
  @HttpCode(200)
  @ApiKeyAccess('keys:verify')
  @ApiOperation({
    summary: 'Report a key that others can read',
    description: 'It is ended for good, and its owner told; again changes nothing.',
  })
  @ApiOkResponse({ type: ReportedLeakDto, description: 'The key opens nothing any more.' })
  async report(
    @CurrentPrincipal() { userId }: ApiKeyPrincipal,
    @Body() { key }: ReportLeakDto,
    @Origin() origin: RequestOrigin,
  ): Promise<ReportedLeakDto> {
    const [isKey = false] = await this.leaks.report([{ text: key, url: null }], 'service', {
      id: userId,
      origin,
    });
    return ReportedLeakDto.from(isKey);
  }
}

function signatureOf(headers: FastifyRequest['headers']): LeakSignature {
  const text = (name: string): string | undefined => headers[name]?.toString();
  return {
    identifier: text('github-public-key-identifier'),
    signature: text('github-public-key-signature'),
  };
}
