import { type DynamicModule, Module } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOG } from '../../common/log-token';
import { Clock } from '../../common/clock';

@Module({})
export class ObservabilityModule {
  /** Makes the process's logger and clock injectable everywhere. */
  static register(log: Logger): DynamicModule {
    return {
      module: ObservabilityModule,
      global: true,
      providers: [Clock, { provide: LOG, useValue: log }],
      exports: [Clock, LOG],
    };
  }
}
