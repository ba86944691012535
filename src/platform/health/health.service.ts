import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { Clock } from '../../common/clock';
import { VERSION } from '../../common/version';
import type { HealthComponentsDto, HealthDto, PartHealthDto } from './health.dto';
import { Readiness } from './readiness';

const CHECK_TIMEOUT_MS = 1_000;
const BELIEVED_MS = 1_000;

@Injectable()
export class HealthService {
  private readonly parts = new Map<keyof HealthComponentsDto, () => PartHealthDto['status']>();
  private last: { readonly askedAtMs: number; readonly answers: Promise<boolean> } | undefined;

  constructor(
    private readonly db: EntityManager,
    private readonly readiness: Readiness,
    private readonly clock: Clock,
  ) {}

  /** Has a part of the service shown that stands above this one; it never makes the service unready. */
  watch(name: Exclude<keyof HealthComponentsDto, 'database'>, state: () => PartHealthDto['status']): void {
    this.parts.set(name, state);
  }

  /** The state of the service and of what it stands on; answers within a second, whatever the database does. */
  async check(): Promise<HealthDto> {
    const databaseUp = await this.databaseState();
    const status = !databaseUp ? 'unhealthy' : this.readiness.isDraining ? 'draining' : 'healthy';
    const parts = [...this.parts].map(([name, state]) => [name, { status: state() }] as const);
    return {
      status,
      version: VERSION,
      components: { database: { status: databaseUp ? 'up' : 'down' }, ...Object.fromEntries(parts) },
    };
  }

  /** However many ask, the database is asked about once a second. */
  private databaseState(): Promise<boolean> {
    const nowMs = this.clock.nowMs();
    if (!this.last || Math.abs(nowMs - this.last.askedAtMs) >= BELIEVED_MS) {
      this.last = { askedAtMs: nowMs, answers: this.databaseAnswers() };
    }
    return this.last.answers;
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
