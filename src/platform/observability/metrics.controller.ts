import { hash, timingSafeEqual } from 'node:crypto';
import { Controller, Get, Inject, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { SkipThrottle } from '@nestjs/throttler';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Public } from '../../common/access';
import { CommonErrors } from '../../common/common.errors';
import { ENV, type Env } from '../../config/env';
import { Metrics } from './metrics';

/** For Prometheus. With `METRICS_TOKEN` it is asked for; production without one has no metrics to show. */
@ApiExcludeController()
@Public()
@SkipThrottle()
@Controller('metrics')
export class MetricsController {
  constructor(
    private readonly metrics: Metrics,
    @Inject(ENV) private readonly env: Env,
  ) {}

  /** @throws ApiError `route_not_found` for whoever may not see it: its existence is not his to know. */
  @Get()
  async read(
    @Req() { headers }: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<string> {
    if (!this.isAllowed(headers.authorization)) throw CommonErrors.routeNotFound();
    void reply.header('content-type', this.metrics.registry.contentType);
    return this.metrics.registry.metrics();
  }

  private isAllowed(authorization = ''): boolean {
    const { METRICS_TOKEN, isProduction } = this.env;
    if (METRICS_TOKEN === undefined) return !isProduction;
    return isSame(authorization.replace(/^Bearer /i, ''), METRICS_TOKEN);
  }
}

/** Compares hashes, whose lengths are equal, in constant time. */
function isSame(given: string, wanted: string): boolean {
  return timingSafeEqual(hash('sha256', given, 'buffer'), hash('sha256', wanted, 'buffer'));
}
