import { Controller, Get, Header } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';
import { Public } from '../common/access';
import { AccessTokens } from './access-tokens';

class JwksDto {
  @ApiProperty({
    type: 'array',
    items: { type: 'object', additionalProperties: true },
    description: 'The public keys (RFC 7517); empty while tokens are signed with a shared secret.',
  })
  keys!: object[];
}

@ApiTags('Sessions')
@Public()
@Controller('.well-known')
export class JwksController {
  constructor(private readonly tokens: AccessTokens) {}

  @Get('jwks.json')
  @Header('cache-control', 'public, max-age=300')
  @ApiOperation({
    summary: 'Public keys of access tokens',
    description: 'For services that verify access tokens themselves. While keys rotate there are two.',
  })
  @ApiOkResponse({ type: JwksDto, description: 'The key set.' })
  keys(): JwksDto {
    return { keys: this.tokens.publicKeys() };
  }
}
