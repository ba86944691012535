import 'reflect-metadata';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Writable } from 'node:stream';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { DataSource, type EntityManager } from 'typeorm';
import { type Program, startNginx } from '../../bench/support/cluster.mjs';
import { AppModule } from '../../src/app.module';
import { createAdapter, setUpApp } from '../../src/app.setup';
import { Clock } from '../../src/common/clock';
import { type Env, parseEnv } from '../../src/config/env';
import { entities } from '../../src/data-source';
import { dataSourceOptions } from '../../src/platform/database/data-source-options';
import { DevelopmentMailbox, type KeptMail } from '../../src/platform/mail/development-mailbox';
import { createLog } from '../../src/platform/observability/log';
import { verifyUsage } from '../../src/usage/usage-verifier';
import { asApplication, copyDatabase } from './database';
import { Factory } from './factory';
import { Http } from './http';
import { jobsSettled } from './jobs';
import { isSearched, storedRows, strayedSecrets } from './secret-search';
import { TestClock } from './test-clock';

export const TEST_SECRETS = {
  JWT_SECRET_KEY: 'mNw3jR8vXq2LcZ5tYb7KpGf4HsD9aVeU6iOx1BoT0lCr',
  SECRET_KEY: 'Zx8cVb2nMq5wErT7yUi3oPaS6dFgH1jKlQ4zXcVvB9nM',
};

/** Hashing as dearly as the settings ask would be half of what the suite does; `passwords.spec.ts` is about the settings. */
const QUICK_HASHES = { ARGON2_MEMORY_KIB: 1_024, ARGON2_TIME_COST: 2 };

/** The whole service on a copy of the migrated database, as a test sees it. */
export interface TestApp {
  readonly app: NestFastifyApplication;
  /** All that answer: this one, or two with CLUSTER=true. */
  readonly apps: readonly NestFastifyApplication[];
  readonly env: Env;
  readonly http: Http;
  readonly url: string;
  /** Of the owner of the tables; the service itself connects as another role, which may do less. */
  readonly databaseUrl: string;
  /** As the owner. */
  readonly db: EntityManager;
  readonly clock: TestClock;
  readonly make: Factory;
  /** What was logged so far, a line each. */
  readonly logLines: string[];
  /** What one process has changed the others know a second later: with CLUSTER=true that second passes. Alone, it is known at once. */
  known(): void;
  /** Resolves when no job is due or under way, so what was asked for has been done or has failed. */
  settled(): Promise<void>;
  /** The mails to an address, newest first, after every job that is due; by whichever application of the database. */
  mails(address: string): Promise<KeptMail[]>;
  close(): Promise<void>;
}

export interface TestAppOptions {
  /** Settings that differ from the test's defaults. */
  settings?: Record<string, string>;
  /** A database to share with another application; default: one of its own. */
  databaseUrl?: string;
}

/**
 * With CLUSTER=true what a test starts is two applications behind nginx, on a database behind PgBouncer, with a Redis.
 * A client keeps to one of them, by its address, for what one changes the other may learn a second later.
 */
export const isCluster = process.env['CLUSTER'] === 'true';

/** Why a test cannot be of two applications. */
const reasons = {
  'limits-clock': 'they move the clock of the limits, which is that of Redis here',
  inside: 'they steer or look into one application',
  proxy: 'nginx refuses such paths itself',
  'own-second': 'they start a second application themselves',
};
const told = new Set<string>();

/** `it`, for one application alone: with CLUSTER=true it is said why that is left out. */
export function itAlone(reason: keyof typeof reasons): jest.It {
  return isCluster ? (leftOut(reason), it.skip) : it;
}

/** The same for a whole file. */
export function describeAlone(reason: keyof typeof reasons): jest.Describe {
  return isCluster ? (leftOut(reason), describe.skip) : describe;
}

function leftOut(reason: keyof typeof reasons): void {
  if (told.has(reason)) return;
  told.add(reason);
  const file = basename(expect.getState().testPath ?? '');
  process.stderr.write(`Left out of ${file}: tests of one application alone, for ${reasons[reason]}.\n`);
}

/** Only what shares a database shares limits: each worker, which runs one file at a time, has a Redis database of its own. */
function redisUrl(): string | undefined {
  const { TEST_REDIS_URL: url, JEST_WORKER_ID: worker } = process.env;
  return url && `${url}/${worker ?? '0'}`;
}

async function balance(apps: readonly NestFastifyApplication[]): Promise<Program> {
  const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-balancer-'));
  const urls = await Promise.all(apps.map((app) => app.getUrl()));
  const nginx = await startNginx(directory, urls, { by: '$http_x_forwarded_for' });
  const end = async (): Promise<void> => {
    await nginx.end();
    rmSync(directory, { recursive: true, force: true });
  };
  return { url: nginx.url, end };
}

const mailboxesByDatabase = new Map<string, DevelopmentMailbox[]>();

/** The mailboxes of all applications that share a database: each does the jobs of all. */
function mailboxesOf(databaseUrl: string, more: DevelopmentMailbox[]): DevelopmentMailbox[] {
  const all = mailboxesByDatabase.get(databaseUrl) ?? [];
  mailboxesByDatabase.set(databaseUrl, all);
  all.push(...more);
  return all;
}

/** Starts the service as `main.ts` does, with a clock that can be set. */
export async function startTestApp({ settings = {}, databaseUrl }: TestAppOptions = {}): Promise<TestApp> {
  const database = databaseUrl ? { url: databaseUrl, drop: () => Promise.resolve() } : await copyDatabase();
  const parsed = parseEnv(
    {
      MIGRATION_DATABASE_URL: database.url,
      NODE_ENV: 'test',
      TRUST_PROXY: 'loopback',
      PORT: '0',
      LOG_LEVEL: 'info',
      REDIS_URL: redisUrl(),
      // A busy machine must not look like a failing Redis.
      REDIS_TIMEOUT_MS: isCluster ? '5000' : undefined,
      ...TEST_SECRETS,
      ...settings,
    },
    () => TEST_SECRETS,
  );
  const env = { ...parsed, ...QUICK_HASHES };
  const clock = new TestClock();
  const logLines: string[] = [];
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      logLines.push(...chunk.toString().trimEnd().split('\n'));
      done();
    },
  });
  const log = createLog(env.LOG_LEVEL, sink);
  const build = async (): Promise<NestFastifyApplication> => {
    const module = await Test.createTestingModule({
      imports: [AppModule.register(env, asApplication(database.url), log)],
    })
      .overrideProvider(Clock)
      .useValue(clock)
      .compile();
    const adapter = createAdapter(env, log);
    const built = module.createNestApplication<NestFastifyApplication>(adapter, { bodyParser: false });
    await (await setUpApp(built, env, log)).listen(0, '127.0.0.1');
    return built;
  };

  const app = await build();
  const others = isCluster ? [await build()] : [];
  const url = await app.getUrl();
  const balancer = isCluster ? await balance([app, ...others]) : undefined;

  const keepsMail = env.SMTP_URL === undefined && !env.isProduction;
  const mailboxes = mailboxesOf(
    database.url,
    keepsMail ? [app, ...others].map((one) => one.get(DevelopmentMailbox)) : [],
  );
  const owner = await new DataSource({ ...dataSourceOptions(database.url, 5), entities }).initialize();
  const db = owner.manager;
  const close = async (): Promise<void> => {
    const findings = await verifyUsage(db);
    const rows = isSearched ? await storedRows(db) : [];
    await balancer?.end();
    for (const one of [app, ...others]) await one.close();
    await owner.destroy();
    await database.drop();
    const kept = mailboxes.flatMap((mailbox) => mailbox.mails());
    const strayed = isSearched ? strayedSecrets(logLines, kept, rows) : [];
    if (strayed.length > 0) throw new Error(`Secrets are where they do not belong: ${strayed.join('; ')}`);
    if (findings.length > 0) throw new Error(`Sums differ from the ledger: ${JSON.stringify(findings)}`);
  };
  let closed: Promise<void> | undefined;
  return {
    app,
    apps: [app, ...others],
    env,
    url,
    http: new Http(balancer?.url ?? url),
    databaseUrl: database.url,
    db,
    clock,
    make: new Factory(app, db, clock),
    logLines,
    known: () => {
      if (isCluster) clock.advance(1_000);
    },
    settled: () => jobsSettled(db),
    mails: async (address) => {
      await jobsSettled(db);
      const all = mailboxes.flatMap((mailbox) => mailbox.mails()).filter(({ to }) => to === address);
      return all.sort((a, b) => b.sentAt.getTime() - a.sentAt.getTime());
    },
    close: () => (closed ??= close()),
  };
}
