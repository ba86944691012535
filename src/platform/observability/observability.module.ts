import { type DynamicModule, Module } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOG } from '../../common/log-token';
import { Clock } from '../../common/clock';
import { ENV, type Env } from '../../config/env';
import { Metrics } from './metrics';
import { MetricsController } from './metrics.controller';
import { NoTraces, Traces } from './traces';

@Module({})
export class ObservabilityModule {
  /** Makes the process's logger, metrics, traces and clock injectable everywhere. */
  static register(log: Logger): DynamicModule {
    return {
      module: ObservabilityModule,
      global: true,
      controllers: [MetricsController],
      providers: [
        Clock,
        Metrics,
        { provide: LOG, useValue: log },
        { provide: Traces, inject: [ENV], useFactory: makeTraces },
      ],
      exports: [Clock, Metrics, LOG, Traces],
    };
  }
}

/** Nothing of OpenTelemetry is loaded where nobody is told. */
function makeTraces(env: Env): Traces {
  if (env.OTEL_EXPORTER_OTLP_ENDPOINT === undefined) return new NoTraces();
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- an import would load it always, and import() of a file of ours is spelled in one way for TypeScript and in another for jest
  const { OpenTelemetry } = require('./open-telemetry') as typeof import('./open-telemetry');
  return new OpenTelemetry(env);
}
