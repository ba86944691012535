import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';
import { SkipThrottle } from '@nestjs/throttler';
import { Public } from '../../common/access';
import { SERVICE_TITLE, VERSION } from '../../common/version';

class RootDto {
  @ApiProperty({ example: SERVICE_TITLE, description: 'Name of the service.' })
  message!: string;

  @ApiProperty({ example: VERSION, description: 'Version of the service.' })
  version!: string;

  @ApiProperty({ example: '/docs', description: 'Where the documentation is.' })
  docs!: string;
}

@ApiTags('Health')
@Public()
@SkipThrottle()
@Controller()
export class RootController {
  @Get()
  @ApiOperation({ summary: 'What this is' })
  @ApiOkResponse({ type: RootDto, description: 'Name, version and where the documentation is.' })
  root(): RootDto {
    return { message: SERVICE_TITLE, version: VERSION, docs: '/docs' };
  }
}
