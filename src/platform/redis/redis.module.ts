import { type DynamicModule, Injectable, Module, type OnApplicationShutdown } from '@nestjs/common';
import type { Env } from '../../config/env';
import { RedisConnection } from './redis-connection';

/** The Redis of this service, if it has one. */
@Injectable()
export class RedisService implements OnApplicationShutdown {
  constructor(readonly connection: RedisConnection | undefined) {}

  onApplicationShutdown(): void {
    this.connection?.end();
  }
}

@Module({})
export class RedisModule {
  static register({ REDIS_URL, REDIS_TIMEOUT_MS }: Env): DynamicModule {
    return {
      module: RedisModule,
      global: true,
      providers: [
        {
          provide: RedisService,
          useFactory: () => new RedisService(REDIS_URL && new RedisConnection(REDIS_URL, REDIS_TIMEOUT_MS)),
        },
      ],
      exports: [RedisService],
    };
  }
}
