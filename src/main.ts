import 'reflect-metadata';
import { Server } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { createApp } from './app.setup';
import { ConfigurationError, type Env, loadEnv } from './config/env';
import { runUntilSignal } from './lifecycle';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './platform/database/embedded-postgres';
import { EmbeddedPostgresError } from './platform/database/postgres-errors';
import { Readiness } from './platform/health/readiness';
import { createLog } from './platform/observability/log';

const QUIET_TURN_MS = 0.2;
/** A process that is never quiet stops all the same. */
const QUIET_WAIT_MS = 1_000;

/**
 * By how much the heap may outgrow what lives in it before it is collected, in per cent. Left to itself, V8 lets that
 * become three times as much under load, and is no faster for it; at 15 it is collected so often that calls wait.
 */
const HEAP_GROWTH_PERCENT = 40;

/** Starts the service: settings, database, application, listener; then runs until a signal. */
async function main(): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH_PERCENT}`);
  const env = loadEnv();
  const log = createLog(env.LOG_LEVEL);
  const started: Started = {};
  let running: EmbeddedPostgres | undefined;
  runUntilSignal({
    beginDrain: () => started.app?.get(Readiness).beginDrain(),
    stopAccepting: () => stopAccepting(started),
    graceMs: env.SHUTDOWN_GRACE_MS,
    close: () => close(started, env),
    abandon: () => running?.stopNow(),
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
      started.embedded = startEmbeddedPostgres(env.DATA_DIR, { onLost });
    }
    running = await started.embedded;
    started.app = await createApp(
      running ? { ...env, MIGRATION_DATABASE_URL: running.url } : env,
      env.DATABASE_URL ?? running?.applicationUrl ?? '',
      log,
    );
    await started.app.listen(env.PORT, env.HOST);
  } catch (error) {
    await close(started, env);
    throw error;
  }
  const url = await started.app.getUrl();
  if (!env.isProduction) announce(env, url);
  log.info({ url }, 'listening');
}

/** What is running, or on its way: a signal may come at any moment. */
interface Started {
  embedded?: Promise<EmbeddedPostgres>;
  app?: NestFastifyApplication;
}

/**
 * Closes the listener alone, while connections are open that a balancer sends its requests on: those who ask for a new
 * one are refused before they have sent anything, and go elsewhere. Closed together with the connections, the listener
 * would be asked for new ones at that very moment, and lose those it has not taken yet.
 */
async function stopAccepting({ app }: Started): Promise<void> {
  if (!app) return;
  await quietTurn();
  app.get(Readiness).sendAway();
  Server.prototype.close.call(app.getHttpServer());
}

/**
 * Resolves behind a turn of the event loop in which nothing happened: whoever has connected by then has been taken.
 * Behind a busy one there may be connections that came since it looked for them, and close with the listener.
 */
async function quietTurn(): Promise<void> {
  const deadlineMs = performance.now() + QUIET_WAIT_MS;
  let turnMs: number;
  do {
    const startedMs = performance.now();
    await setImmediate();
    turnMs = performance.now() - startedMs;
  } while (turnMs > QUIET_TURN_MS && performance.now() < deadlineMs);
}

/** Answers what was accepted; connections that never send a whole request do not hold the process up. */
async function close({ app, embedded }: Started, { PROVIDER_TIMEOUT_SECONDS }: Env): Promise<void> {
  const patienceMs = (PROVIDER_TIMEOUT_SECONDS + 5) * 1_000;
  const giveUp = setTimeout(() => app?.getHttpServer().closeAllConnections(), patienceMs);
  await app?.close();
  clearTimeout(giveUp);
  await (await embedded?.catch(() => undefined))?.stop();
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
