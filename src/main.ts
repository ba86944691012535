import 'reflect-metadata';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { createApp } from './app.setup';
import { ConfigurationError, type Env, loadEnv } from './config/env';
import { runUntilSignal } from './lifecycle';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './platform/database/embedded-postgres';
import { EmbeddedPostgresError } from './platform/database/postgres-errors';
import { Readiness } from './platform/health/readiness';
import { createLog } from './platform/observability/log';

/** Starts the service: settings, database, application, listener; then runs until a signal. */
async function main(): Promise<void> {
  const env = loadEnv();
  const log = createLog(env.LOG_LEVEL);
  const started: { embedded?: EmbeddedPostgres; app?: NestFastifyApplication } = {};
  runUntilSignal({
    beginDrain: () => started.app?.get(Readiness).beginDrain(),
    graceMs: env.SHUTDOWN_GRACE_MS,
    close: () => close(started),
    abandon: () => started.embedded?.stopNow(),
    report: (error) => {
      log.fatal({ err: error }, 'shutdown failed');
    },
  });

  try {
    if (env.DATABASE_URL === undefined) {
      const onLost = (error: Error): void => {
        log.fatal({ err: error }, 'the embedded database is lost');
        process.exit(1);
      };
      started.embedded = await startEmbeddedPostgres(env.DATA_DIR, { onLost });
    }
    started.app = await createApp(env, env.DATABASE_URL ?? started.embedded?.url ?? '', log);
    await started.app.listen(env.PORT, env.HOST);
  } catch (error) {
    await close(started);
    throw error;
  }
  const url = await started.app.getUrl();
  if (!env.isProduction) announce(env, url);
  log.info({ url }, 'listening');
}

async function close({
  app,
  embedded,
}: {
  app?: NestFastifyApplication;
  embedded?: EmbeddedPostgres;
}): Promise<void> {
  await app?.close();
  await embedded?.stop();
}

function announce(env: Env, url: string): void {
  const lines = ['', `  Cortex Auth     ${url}`];
  if (env.DOCS_ENABLED) lines.push(`  API docs        ${url}/docs`);
  if (!env.SMTP_URL) lines.push(`  Mailbox         ${url}/dev/mailbox`);
  process.stdout.write(`${lines.join('\n')}\n\n`);
}

main().catch((error: unknown) => {
  // These two explain themselves; anything else needs its stack.
  const explained = error instanceof ConfigurationError || error instanceof EmbeddedPostgresError;
  const text = explained ? error.message : error instanceof Error ? error.stack : String(error);
  process.stderr.write(`${text}\n`);
  process.exit(1);
});
