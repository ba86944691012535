import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { VERSION } from '../../common/version';
import type { HealthDto } from './health.dto';
import { Readiness } from './readiness';

const CHECK_TIMEOUT_MS = 1_000;

@Injectable()
export class HealthService {
  constructor(
    private readonly db: EntityManager,
    private readonly readiness: Readiness,
  ) {}

  /** The state of the service and of what it stands on; answers within a second, whatever the database does. */
  async check(): Promise<HealthDto> {
    const databaseUp = await this.databaseAnswers();
    const status = !databaseUp ? 'unhealthy' : this.readiness.isDraining ? 'draining' : 'healthy';
    return { status, version: VERSION, components: { database: { status: databaseUp ? 'up' : 'down' } } };
  }

  private async databaseAnswers(): Promise<boolean> {
    const abort = new AbortController();
    const answer = this.db.query('SELECT 1').then(
      () => true,
      () => false,
    );
    const timeout = delay(CHECK_TIMEOUT_MS, false, { signal: abort.signal, ref: false }).catch(() => false);
    const answered = await Promise.race([answer, timeout]);
    abort.abort();
    return answered;
  }
}
