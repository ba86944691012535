import { randomBytes, randomInt } from 'node:crypto';
import { Agent, request } from 'node:http';
import { parseArgs } from 'node:util';
import argon2 from 'argon2';
import { watchOthers } from './support/disturbance.mjs';
import { describeMachine, median, percent, printTable } from './support/report.mjs';
import { makeCaller, startService } from './support/service.mjs';
import { onStage } from './support/stage.mjs';

/*
 * npm run bench:timing                 what the time of an answer tells about whether there is such an account
 * npm run bench:timing -- --pairs 200  the same with fewer requests, and so a wider error
 * One keep-alive connection, one request at a time; known and unknown addresses in random order, each used once.
 */
const { values: options } = parseArgs({ options: { pairs: { type: 'string', default: '1000' } } });
const pairs = Number(options.pairs);
const WARM_UP = 40;
const PASSWORD = 'a good enough passphrase';

/** What is asked of each address. */
const routes = {
  login: { path: 'login', body: (email) => ({ email, password: 'not the right one' }) },
  'login, hashed with 19 MiB': {
    path: 'login',
    body: (email) => ({ email, password: 'not the right one' }),
    hash: { memoryCost: 19_456, timeCost: 2, parallelism: 1 },
  },
  register: { path: 'register', body: (email) => ({ email, password: PASSWORD }) },
  reset: { path: 'password/reset', body: (email) => ({ email }) },
  resend: { path: 'verify-email/resend', body: (email) => ({ email }) },
};

await onStage(async (stage) => {
  console.log(await describeMachine(stage.database));
  const { url } = await startService(stage, { env: { SIGNUP_ENUMERATION_SAFE: 'true' } });
  await makeCaller(url, stage.database);
  const shareOfOthers = watchOthers(stage.directory);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const rows = [];
  for (const [name, route] of Object.entries(routes)) {
    // Of their own for each route, so that none has met a limit of its address before.
    const known = await makeKnown(stage.database, pairs + WARM_UP, route.hash);
    const unknown = known.map(() => someAddress());
    const ask = (email) => timeOf(agent, `${url}/api/v1/auth/${route.path}`, route.body(email));
    for (const email of [...known.splice(pairs), ...unknown.splice(pairs)]) await ask(email);

    const times = { known: [], unknown: [] };
    const order = shuffled([
      ...known.map((email) => ({ kind: 'known', email })),
      ...unknown.map((email) => ({ kind: 'unknown', email })),
    ]);
    for (const { kind, email } of order) times[kind].push(await ask(email));
    const [knownMs, unknownMs] = [median(times.known), median(times.unknown)];
    rows.push([name, auc(times.known, times.unknown).toFixed(3), knownMs.toFixed(2), unknownMs.toFixed(2)]);
  }
  agent.destroy();
  printTable(
    `${pairs} known and ${pairs} unknown addresses; bar: AUC within 0.45 .. 0.55`,
    ['', 'AUC', 'p50 ms known', 'p50 ms unknown'],
    rows,
  );
  console.log(`  other programs took ${percent(shareOfOthers())} of the machine meanwhile`);
});

/** Accounts whose address is not proven yet, with the password hash of the bench's own or an older one. @returns their addresses. */
async function makeKnown(database, count, hash) {
  const emails = Array.from({ length: count }, someAddress);
  await database.query(
    `INSERT INTO users (id, email, password_hash, is_active, is_verified, created_at, updated_at)
     SELECT gen_random_uuid(), address, coalesce($2, (SELECT password_hash FROM users WHERE email = 'bench@example.com')), true, false, now(), now()
     FROM unnest($1::text[]) AS address`,
    [emails, hash ? await argon2.hash(PASSWORD, hash) : null],
  );
  return emails;
}

/** Known and unknown ones are of one form and length. */
function someAddress() {
  return `${randomBytes(8).toString('hex')}@example.com`;
}

/** From the first byte sent to the last one received, in milliseconds. @throws Error on an answer of another kind. */
function timeOf(agent, url, body) {
  const text = JSON.stringify(body);
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'x-forwarded-for': [10, randomInt(256), randomInt(256), randomInt(256)].join('.'),
  };
  return new Promise((resolve, reject) => {
    const startedAtMs = performance.now();
    const outgoing = request(url, { method: 'POST', agent, headers }, (response) => {
      response
        .resume()
        .once('error', reject)
        .once('end', () => {
          if ([200, 401].includes(response.statusCode)) resolve(performance.now() - startedAtMs);
          else reject(new Error(`${url} answered ${response.statusCode}.`));
        });
    });
    outgoing.once('error', reject).end(text);
  });
}

function shuffled(items) {
  for (let last = items.length - 1; last > 0; last--) {
    const other = randomInt(last + 1);
    [items[last], items[other]] = [items[other], items[last]];
  }
  return items;
}

/** How often a known one takes longer than an unknown one: 0.5 tells nothing (Mann-Whitney). */
function auc(known, unknown) {
  const sorted = [...unknown].sort((a, b) => a - b);
  const below = (value, isBelow) => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBelow(sorted[middle], value)) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const wins = known.reduce(
    (sum, value) => sum + (below(value, (a, b) => a < b) + below(value, (a, b) => a <= b)) / 2,
    0,
  );
  return wins / (known.length * unknown.length);
}
