import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/**
 * Tells how much of the machine's CPU time other programs took meanwhile, as a share of one whole: what they take,
 * the measured processes miss. Linux only; elsewhere the answer is 0.
 * @param directory where the bench's PostgreSQL runs, which is no child of this process.
 */
export function watchOthers(directory) {
  if (process.platform !== 'linux') return () => 0;
  const before = readTimes(directory);
  return () => {
    const after = readTimes(directory);
    const elapsed = after.total - before.total;
    const busy = after.busy - before.busy;
    const own = [...after.own].reduce((sum, [pid, ticks]) => sum + ticks - (before.own.get(pid) ?? 0), 0);
    return elapsed > 0 ? Math.max(0, (busy - own) / elapsed) : 0;
  };
}

/** Clock ticks so far: of all processors, of all programs, and of each process of the bench (proc_stat(5)). */
function readTimes(directory) {
  const own = new Map();
  const parents = new Map();
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    const fields = readStat(pid);
    if (!fields) continue;
    parents.set(pid, fields[1]);
    own.set(pid, Number(fields[11]) + Number(fields[12]));
  }
  for (const pid of [...own.keys()]) if (!isOwn(pid, parents, directory)) own.delete(pid);

  const [user, nice, system, idle, iowait, irq, softirq, steal] = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)[0]
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const busy = user + nice + system;
  return { own, busy, total: busy + idle + iowait + irq + softirq + steal };
}

/** The fields of a process behind its name, which may hold spaces; undefined when it has ended. */
function readStat(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

function isOwn(pid, parents, directory) {
  for (let at = pid; at && at !== '0'; at = parents.get(at)) if (at === String(process.pid)) return true;
  try {
    return readlinkSync(`/proc/${pid}/cwd`).startsWith(directory);
  } catch {
    return false;
  }
}
