import { Controller, Get, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiServiceUnavailableResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { SkipThrottle } from '@nestjs/throttler';
import { Public } from '../../common/access';
import { HealthDto, LivenessDto } from './health.dto';
import { HealthService } from './health.service';

@ApiTags('Health')
@Public()
@SkipThrottle()
@Controller('health')
export class HealthController {
  constructor(private readonly health: HealthService) {}

  /** For people and monitors: a draining service is still healthy. */
  @Get()
  @ApiOperation({ summary: 'State of the service', description: '503 when the database does not answer.' })
  @ApiOkResponse({ type: HealthDto, description: 'The service works.' })
  @ApiServiceUnavailableResponse({ type: HealthDto, description: 'The database does not answer.' })
  async state(@Res({ passthrough: true }) reply: FastifyReply): Promise<HealthDto> {
    const health = await this.health.check();
    reply.status(health.status === 'unhealthy' ? 503 : 200);
    return health;
  }

  @Get('live')
  @ApiOperation({
    summary: 'Liveness',
    description: 'Whether the process answers; restart it when it does not.',
  })
  @ApiOkResponse({ type: LivenessDto, description: 'The process answers.' })
  live(): LivenessDto {
    return { status: 'alive' };
  }

  @Get('ready')
  @ApiOperation({
    summary: 'Readiness',
    description:
      '503 while the service drains, or when the database does not answer: send requests elsewhere.',
  })
  @ApiOkResponse({ type: HealthDto, description: 'Send requests here.' })
  @ApiServiceUnavailableResponse({ type: HealthDto, description: 'Send requests elsewhere.' })
  async ready(@Res({ passthrough: true }) reply: FastifyReply): Promise<HealthDto> {
    const health = await this.health.check();
    reply.status(health.status === 'healthy' ? 200 : 503);
    return health;
  }
}
