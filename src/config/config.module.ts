import { type DynamicModule, Module } from '@nestjs/common';
import { ENV, type Env } from './env';

@Module({})
export class ConfigModule {
  /** Makes the settings injectable everywhere, as `@Inject(ENV)`. */
  static register(env: Env): DynamicModule {
    return {
      module: ConfigModule,
      global: true,
      providers: [{ provide: ENV, useValue: env }],
      exports: [ENV],
    };
  }
}
