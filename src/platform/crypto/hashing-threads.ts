import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';

const THREADS = '/proc/self/task';
/** As Node.js 24 names the threads of its pool, which hash passwords, look up names and read files; earlier ones do not. */
const POOL_THREAD = 'libuv-worker\n';

/**
 * Lets the threads that hash passwords give way to the thread that answers: on busy cores a log-in waits for calls, and
 * no longer every call for log-ins. Linux alone has a priority for each thread (setpriority(2), under "C library/kernel
 * differences"); elsewhere nothing changes.
 */
export function lowerHashingPriority(): void {
  if (!existsSync(THREADS)) return;
  for (const thread of readdirSync(THREADS))
    try {
      if (readFileSync(`${THREADS}/${thread}/comm`, 'utf8') === POOL_THREAD)
        setPriority(Number(thread), constants.priority.PRIORITY_BELOW_NORMAL);
    } catch {
      // It has ended meanwhile, or a sandbox refuses: then it has the priority it had, which is slower and no worse.
    }
}
