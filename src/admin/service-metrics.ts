import { Injectable } from '@nestjs/common';
import type { Pool } from 'pg';
import { DataSource } from 'typeorm';
import { Passwords } from '../platform/crypto/passwords';
import { Readiness } from '../platform/health/readiness';
import { Metrics } from '../platform/observability/metrics';

/** What an operator watches beside requests and usage: how many there are, and what waits. */
@Injectable()
export class ServiceMetrics {
  constructor(
    private readonly database: DataSource,
    metrics: Metrics,
    passwords: Passwords,
    readiness: Readiness,
  ) {
    metrics.counted('active_users_total', 'Accounts that are not suspended.', () =>
      this.number('SELECT count(*) AS n FROM users WHERE is_active'),
    );
    metrics.counted('api_keys_total', 'API keys that are active.', () =>
      this.number('SELECT count(*) AS n FROM api_keys WHERE is_active'),
    );
    metrics.counted('jobs_due', 'Jobs that are due or under way, such as mails.', () =>
      this.number(
        `SELECT count(*) AS n FROM pgboss.job WHERE state = 'active' OR state < 'active' AND start_after <= now()`,
      ),
    );
    metrics.counted('jobs_oldest_due_seconds', 'How long the oldest of them is due.', () =>
      this.number(
        `SELECT coalesce(extract(epoch FROM now() - min(start_after)), 0) AS n FROM pgboss.job
         WHERE state < 'active' AND start_after <= now()`,
      ),
    );
    metrics.counted('jobs_failing', 'Jobs that failed at least once and are not done.', () =>
      this.number(`SELECT count(*) AS n FROM pgboss.job WHERE state IN ('retry', 'failed')`),
    );
    const pool = (database.driver as unknown as { readonly master: Pool }).master;
    metrics.gauge('database_connections', 'Open connections to PostgreSQL.', () => pool.totalCount);
    metrics.gauge('database_waiting', 'Requests that wait for a connection.', () => pool.waitingCount);
    metrics.gauge(
      'password_hashes_waiting',
      'Password hashes that wait for a thread.',
      () => passwords.waiting,
    );
    metrics.gauge('draining', '1 while the service drains, else 0.', () => (readiness.isDraining ? 1 : 0));
  }

  private async number(sql: string): Promise<number> {
    const [row] = await this.database.query<{ n: string }[]>(sql);
    return Number(row?.n);
  }
}
