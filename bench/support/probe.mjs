/*
 * Loaded into every process that the bench starts (--import): over the IPC channel it tells what the process has
 * used, profiles it, and lets a script of the bench answer questions of its own.
 */
import { Session } from 'node:inspector/promises';

const PROFILE_INTERVAL_US = 500;

/** @type {Record<string, (value: any) => unknown>} */
const handlers = { usage, startProfile, takeProfile };
let session;

process.on('message', async ({ id, question, value }) => {
  try {
    process.send({ id, answer: await handlers[question](value) });
  } catch (error) {
    process.send({ id, error: String(error.stack ?? error) });
  }
});
// The service under test must end as it ends alone: the channel keeps nothing alive.
process.channel.unref();
process.once('disconnect', () => process.exit(1));

/** Lets this process answer a question of the bench. */
export function answer(question, handler) {
  handlers[question] = handler;
}

/** Tells the bench that this process can be asked; it then lives until the bench ends it. */
export function ready(value) {
  process.channel.ref();
  process.send({ ready: value ?? true });
}

/** CPU time so far in microseconds, kernel included, and resident memory in bytes. */
function usage() {
  const { user, system } = process.cpuUsage();
  return { cpuUs: user + system, rssBytes: process.memoryUsage.rss() };
}

async function startProfile() {
  session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.setSamplingInterval', { interval: PROFILE_INTERVAL_US });
  await session.post('Profiler.start');
}

async function takeProfile() {
  const { profile } = await session.post('Profiler.stop');
  session.disconnect();
  return profile;
}
