import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseYaml } from '@redocly/openapi-core';
import { Client } from 'pg';
import { type Cluster, missingPackages, startCluster } from '../../bench/support/cluster.mjs';
import { makeCaller } from '../../bench/support/service.mjs';
import { until } from '../system/support/service-process';

/** Set RESTART_ROUNDS for more than the default; each replaces both processes, one after the other. */
const rounds = Math.max(1, Number.parseInt(process.env['RESTART_ROUNDS'] ?? '3', 10));
const CONNECTIONS = 24;
/** Of clients that connect anew for every call. */
const FRESH_CONNECTIONS = 4;
const CALLS_BETWEEN = 100;
/** Of a client, between two calls: a machine without a core to spare would measure itself. */
const PAUSE_MS = 50;
const ROUND_LIMIT_MS = 60_000;
const END_LIMIT_MS = 10_000;

jest.setTimeout(ROUND_LIMIT_MS * (rounds + 3));

const missing = missingPackages();
if (missing.length > 0)
  process.stdout.write(`Skipped: rolling restarts, for want of ${missing.join(', ')}.\n`);

(missing.length > 0 ? describe.skip : describe)('R5: two processes behind nginx', () => {
  let cluster: Cluster;
  let database: Client;
  beforeAll(async () => {
    cluster = await startCluster(mkdtempSync(join(tmpdir(), 'cortex-auth-rolling-')), { durable: false });
    database = new Client(cluster.databaseUrl);
    await database.connect();
  });
  afterAll(async () => {
    await database.end();
    await cluster.stop();
  });

  it('are well by the health checks of docker-compose.yml', () => {
    const compose = parseYaml(readFileSync(join(__dirname, '../../docker-compose.yml'), 'utf8')) as {
      services: Record<string, { healthcheck?: { test: string[] } }>;
    };
    const portOf = (url: string | undefined): string => new URL(url ?? '').port;
    const check = (service: string, port: string, url: string | undefined, ...more: string[]): void => {
      const [, program = '', ...args] = compose.services[service]?.healthcheck?.test ?? [];
      const placed = [...more, ...args.map((arg) => arg.replace(port, portOf(url)))];
      const { status, stderr } = spawnSync(program, placed, { encoding: 'utf8' });
      expect([service, status, stderr]).toEqual([service, 0, '']);
    };
    check('nginx', '8080', cluster.url);
    check('pgbouncer', '6432', cluster.pooledUrl);
    check('redis', 'none', cluster.redisUrl, '-p', portOf(cluster.redisUrl));
  });

  it(`are replaced ${rounds} times under load, and every request is answered and metered once`, async () => {
    const { apiKey } = await makeCaller(cluster.url, database);
    const load = new Load(cluster.url, apiKey);
    const endsMs: number[] = [];
    try {
      for (let round = 0; round < rounds; round++) {
        for (const index of cluster.members.keys()) {
          await load.calls(CALLS_BETWEEN);
          const { code, endMs } = await cluster.restart(index);
          endsMs.push(endMs);
          const seen = { round, index, code, failures: load.failures };
          expect(seen).toEqual({ round, index, code: 0, failures: [] });
        }
      }
      await load.calls(CALLS_BETWEEN);
    } finally {
      await load.end();
    }

    expect(load.failures).toEqual([]);
    expect(Math.max(...endsMs)).toBeLessThan(END_LIMIT_MS);
    const { rows } = await database.query<{ id: string }>('SELECT id FROM usage_logs');
    expect(rows.map(({ id }) => id).sort()).toEqual([...load.answered].sort());
    process.stdout.write(
      `${rounds} rolling restarts of 2 processes: ${load.answered.length} metered calls answered, ${load.failures.length} failed, ` +
        `longest end of a process ${Math.max(...endsMs).toFixed(0)} ms\n`,
    );
  });
});

/** Metered calls, one after the other on each of many connections, until the end. */
class Load {
  /** The ids of the calls that were answered with 200. */
  readonly answered: string[] = [];
  readonly failures: string[] = [];
  private isEnding = false;
  private readonly keptAlive = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  private readonly fresh = new Agent({ keepAlive: false });
  private readonly running: Promise<unknown>;

  constructor(
    private readonly url: string,
    private readonly apiKey: string,
  ) {
    const agents = Array.from({ length: CONNECTIONS + FRESH_CONNECTIONS }, (_, n) =>
      n < CONNECTIONS ? this.keptAlive : this.fresh,
    );
    this.running = Promise.all(
      agents.map(async (agent) => {
        while (!this.isEnding) {
          await this.call(agent);
          await sleep(PAUSE_MS);
        }
      }),
    );
  }

  /** Resolves when so many more calls were answered, or one has failed. */
  async calls(count: number): Promise<void> {
    const enough = this.answered.length + count;
    await until(() => this.answered.length >= enough || this.failures.length > 0, ROUND_LIMIT_MS);
  }

  async end(): Promise<void> {
    this.isEnding = true;
    await this.running;
    this.keptAlive.destroy();
  }

  private async call(agent: Agent): Promise<void> {
    const outgoing = request(`${this.url}/api/v1/generate`, {
      agent,
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-api-key': this.apiKey },
    });
    outgoing.end(JSON.stringify({ user_id: randomUUID(), prompt: 'Hello', provider: 'echo' }));
    try {
      const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
      const body = (await json(answer)) as { request_id: string };
      if (answer.statusCode === 200) this.answered.push(body.request_id);
      else this.failures.push(`${answer.statusCode ?? ''} ${JSON.stringify(body)}`);
    } catch (error) {
      this.failures.push(String(error));
    }
  }
}
