import { type DynamicModule, Module } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOG } from '../../common/log-token';
import { Clock } from '../../common/clock';
import { Metrics } from './metrics';
import { MetricsController } from './metrics.controller';

@Module({})
export class ObservabilityModule {
  /** Makes the process's logger, metrics and clock injectable everywhere. */
  static register(log: Logger): DynamicModule {
    return {
      module: ObservabilityModule,
      global: true,
      controllers: [MetricsController],
      providers: [Clock, Metrics, { provide: LOG, useValue: log }],
      exports: [Clock, Metrics, LOG],
    };
  }
}
