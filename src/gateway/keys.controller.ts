import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { ApiKeyErrors } from '../api-keys/api-keys.errors';
import { ApiKeyAccess } from '../common/access';
import { Origin, type RequestOrigin } from '../common/origin';
import { ApiProblems } from '../common/problem-docs';
import { VerificationService } from './verification.service';
import { VerificationDto, VerifyKeyDto } from './verify.dto';

@ApiTags('Gateway')
@Controller('keys')
export class KeysController {
  constructor(private readonly verification: VerificationService) {}

  @Post('verify')
  @HttpCode(200)
  @ApiKeyAccess('keys:verify')
  @ApiOperation({
    summary: 'May this key make this call?',
    description:
      'For a backend that serves the call itself. Always 200; `code` says whether and why not. VALID counts as a call: it takes one place of each rate limit of the key. A refusal takes none.',
  })
  @ApiProblems(ApiKeyErrors.unknownPermissions)
  @ApiOkResponse({ type: VerificationDto, description: 'The verdict.' })
  async verify(
    @Body() { key, permission, ip_address: address }: VerifyKeyDto,
    @Origin() { requestId }: RequestOrigin,
  ): Promise<VerificationDto> {
    return VerificationDto.from(await this.verification.verify({ key, permission, address }), requestId);
  }
}
