import { DataSource } from 'typeorm';
import { Jobs } from '../../src/platform/jobs/jobs';
import { dataSourceOptions } from '../../src/platform/database/data-source-options';
import { createLog } from '../../src/platform/observability/log';
import { copyDatabase } from '../support/database';
import { jobsSettled, makeJobsDue } from '../support/jobs';
import { startTestApp } from '../support/test-app';

/** A queue as one process has it, without the rest of the service. */
class Process {
  readonly done: string[] = [];
  readonly logLines: string[] = [];
  readonly jobs: Jobs;

  private constructor(readonly dataSource: DataSource) {
    this.jobs = new Jobs(dataSource, createLog('info', { write: (line) => void this.logLines.push(line) }));
  }

  static async start(
    databaseUrl: string,
    work: (data: { n: string }) => Promise<void> = () => Promise.resolve(),
  ) {
    const made = new Process(await new DataSource(dataSourceOptions(databaseUrl, 5)).initialize());
    made.jobs.handle<{ n: string }>('test', async (data) => {
      await work(data);
      made.done.push(data.n);
    });
    await made.jobs.onApplicationBootstrap();
    return made;
  }

  send(n: string): Promise<void> {
    return this.dataSource.transaction((tx) => this.jobs.send('test', { n }, tx));
  }

  async stop(): Promise<void> {
    await this.jobs.onApplicationShutdown();
    await this.dataSource.destroy();
  }
}

describe('jobs', () => {
  let database: Awaited<ReturnType<typeof copyDatabase>>;
  const processes: Process[] = [];
  const start = async (work?: (data: { n: string }) => Promise<void>): Promise<Process> => {
    const started = await Process.start(database.url, work);
    processes.push(started);
    return started;
  };

  beforeEach(async () => {
    database = await copyDatabase();
  });
  afterEach(async () => {
    await Promise.all(processes.splice(0).map((process) => process.stop()));
    await database.drop();
  });

  it('are done once each by two processes', async () => {
    const [one, two] = [await start(), await start()];
    const names = Array.from({ length: 200 }, (_, i) => `job ${i}`);
    await Promise.all(names.map((n, i) => (i % 2 ? one : two).send(n)));
    await jobsSettled(one.dataSource.manager);
    expect([...one.done, ...two.done].sort()).toEqual(names.sort());
  });

  it('begin when their transaction commits, long before the next poll', async () => {
    const process = await start();
    const beganMs = performance.now();
    for (let i = 0; i < 20; i++) {
      await process.send(`job ${i}`);
      await jobsSettled(process.dataSource.manager);
    }
    expect(process.done).toHaveLength(20);
    expect(performance.now() - beganMs).toBeLessThan(20_000);
  });

  it('are never done when their transaction or its savepoint is rolled back', async () => {
    const process = await start();
    const fail = (): never => {
      throw new Error('no');
    };
    await expect(
      process.dataSource.transaction(async (tx) => {
        await process.jobs.send('test', { n: 'outer' }, tx);
        fail();
      }),
    ).rejects.toThrow('no');
    await process.dataSource.transaction(async (tx) => {
      const inner = tx.transaction(async (savepoint) => {
        await process.jobs.send('test', { n: 'inner' }, savepoint);
        fail();
      });
      await expect(inner).rejects.toThrow('no');
      await process.jobs.send('test', { n: 'kept' }, tx);
    });
    await jobsSettled(process.dataSource.manager);
    expect(process.done).toEqual(['kept']);
  });

  it('are tried again after a failure, which is logged with their id and not stored', async () => {
    let failures = 2;
    const process = await start(() =>
      failures-- > 0 ? Promise.reject(new Error('a private reason')) : Promise.resolve(),
    );
    await process.send('stubborn');
    await jobsSettled(process.dataSource.manager);
    await makeJobsDue(process.dataSource.manager);
    await jobsSettled(process.dataSource.manager);
    expect(process.done).toEqual([]);
    const [row] = await process.dataSource.query<{ row: string; wait: number }[]>(
      `SELECT t::text AS row, extract(epoch FROM start_after - now())::float AS wait FROM pgboss.job t`,
    );
    expect(row?.row).not.toContain('private');
    expect(row?.wait).toBeGreaterThan(5);
    await makeJobsDue(process.dataSource.manager);
    await jobsSettled(process.dataSource.manager);

    expect(process.done).toEqual(['stubborn']);
    const failed = process.logLines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(failed).toMatchObject([
      { msg: 'job failed', job: 'test', attempt: 1, err: { message: 'a private reason' } },
      { msg: 'job failed', job: 'test', attempt: 2 },
    ]);
  });

  it('under way are finished before the process ends, and the rest is left to the next one', async () => {
    const begun = Promise.withResolvers<undefined>();
    const gate = Promise.withResolvers<undefined>();
    const first = await start(() => {
      begun.resolve(undefined);
      return gate.promise;
    });
    await first.send('under way');
    await begun.promise;
    const stopped = first.jobs.onApplicationShutdown();
    await first.send('late');
    gate.resolve(undefined);
    await stopped;
    expect(first.done).toEqual(['under way']);

    const second = await start();
    await jobsSettled(second.dataSource.manager);
    expect(second.done).toEqual(['late']);
  });

  it('have their tables made once by two services that start at once on an empty database', async () => {
    const empty = await copyDatabase('template0');
    const services = await Promise.all([0, 1].map(() => startTestApp({ databaseUrl: empty.url })));
    try {
      const email = services[0]?.make.email() ?? '';
      for (const { http } of services) {
        expect((await http.get('/health/ready')).status).toBe(200);
        await http.post('/auth/register', { body: { email, password: 'a long enough one' } });
      }
      expect(await services[0]?.mails(email)).toHaveLength(1);
    } finally {
      await Promise.all(services.map((service) => service.close()));
      await empty.drop();
    }
  });
});
