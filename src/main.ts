import 'reflect-metadata';
import { createApp } from './app.setup';
import { ConfigurationError, type Env, loadEnv } from './config/env';
import { runUntilSignal } from './lifecycle';
import { startEmbeddedPostgres } from './platform/database/embedded-postgres';
import { EmbeddedPostgresError } from './platform/database/postgres-errors';
import { Readiness } from './platform/health/readiness';
import { createLog } from './platform/observability/log';

/** Starts the service: settings, database, application, listener; then runs until a signal. */
async function main(): Promise<void> {
  const env = loadEnv();
  const log = createLog(env.LOG_LEVEL);
  const embedded = env.DATABASE_URL === undefined ? await startEmbeddedPostgres(env.DATA_DIR) : undefined;
  const databaseUrl = env.DATABASE_URL ?? embedded?.url ?? '';
  try {
    const app = await createApp(env, databaseUrl, log);
    runUntilSignal({
      beginDrain: () => { app.get(Readiness).beginDrain(); },
      graceMs: env.SHUTDOWN_GRACE_MS,
      close: async () => {
        await app.close();
        await embedded?.stop();
      },
      abandon: () => embedded?.stopNow(),
      report: (error) => { log.fatal({ err: error }, 'shutdown failed'); },
    });
    await app.listen(env.PORT, env.HOST);
    if (!env.isProduction) announce(env, await app.getUrl());
    log.info({ url: await app.getUrl() }, 'listening');
  } catch (error) {
    await embedded?.stop();
    throw error;
  }
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
