import { readdirSync, readFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';

const THREADS = '/proc/self/task';
/** As libuv names the threads of its pool, which hash passwords, look up names and read files. */
const POOL_THREAD = 'libuv-worker\n';

/**
 * Lets the threads that hash passwords give way to the thread that answers, and to PostgreSQL beside it: on busy cores
 * a log-in waits for calls, and no longer every call for log-ins. Linux alone has a priority for each thread
 * (setpriority(2), under "C library/kernel differences"); elsewhere nothing changes.
 */
export function lowerHashingPriority(): void {
  if (process.platform !== 'linux') return;
  try {
    for (const thread of readdirSync(THREADS))
      if (readFileSync(`${THREADS}/${thread}/comm`, 'utf8') === POOL_THREAD)
        setPriority(Number(thread), constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // A sandbox may hide the threads or refuse: they then have the priority they had, which is slower and no worse.
  }
}
