import { Controller, Get, Inject } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProperty, ApiPropertyOptional, ApiTags } from '@nestjs/swagger';
import { SkipThrottle } from '@nestjs/throttler';
import { Public } from '../../common/access';
import { SERVICE_TITLE, VERSION } from '../../common/version';
import { ENV, type Env } from '../../config/env';

class RootDto {
  @ApiProperty({ example: SERVICE_TITLE, description: 'Name of the service.' })
  message!: string;

  @ApiProperty({ example: VERSION, description: 'Version of the service.' })
  version!: string;

  @ApiPropertyOptional({ example: '/docs', description: 'Where the documentation is, when it is shown.' })
  docs?: string;
}

@ApiTags('Health')
@Public()
@SkipThrottle()
@Controller()
export class RootController {
  constructor(@Inject(ENV) private readonly env: Env) {}

  @Get()
  @ApiOperation({ summary: 'What this is' })
  @ApiOkResponse({ type: RootDto, description: 'Name, version and where the documentation is.' })
  root(): RootDto {
    return { message: SERVICE_TITLE, version: VERSION, ...(this.env.DOCS_ENABLED && { docs: '/docs' }) };
  }
}
