import { watchOthers } from './disturbance.mjs';
import { startScript } from './processes.mjs';
import { column, percent, printTable, ratio, spread, warnOfFailures } from './report.mjs';
import { generateCall, loginCall, nodeEnv } from './service.mjs';

const CALLERS = 8;
const CALLS_PER_SECOND = 200;

/** Measures log-ins beside bare argon2, which verifies the same hash for as many callers. */
export async function measureLogins({ service, caller, directory, load, plan }) {
  const { credentials, passwordHash: hash } = caller;
  const { password } = credentials;
  const { subject: argon2 } = await startScript('floor-argon2.mjs', { env: nodeEnv });
  const seconds = plan.loginSeconds;
  const verify = () => argon2.ask('verify', { hash, password, callers: CALLERS, seconds });
  const logIn = () =>
    load.ask('load', { ...loginCall(service.url, credentials), connections: CALLERS, seconds });
  await verify();
  await logIn();
  const shareOfOthers = watchOthers(directory);
  const bare = [];
  const logins = [];
  for (let round = 0; round < plan.loginRounds; round++) {
    bare.push(await verify());
    logins.push(await logIn());
  }
  const others = shareOfOthers();
  await argon2.stop();
  printTable(
    `Log-ins: ${CALLERS} at once, ${plan.loginRounds} rounds of ${seconds} s each, argon2id ${hash.split('$')[3]}`,
    ['', 'per second', 'p50 ms', 'p99 ms', 'of bare', 'bar'],
    [
      ['bare argon2 verify', spread(column(bare, 'perSecond'), 1), '', '', '', ''],
      [
        'login',
        spread(column(logins, 'perSecond'), 1),
        spread(column(logins, 'p50Ms')),
        spread(column(logins, 'p99Ms')),
        ratio(logins, bare, 'perSecond'),
        '>= 0.9',
      ],
    ],
  );
  console.log(`  other programs took ${percent(others)} of the machine meanwhile`);
  warnOfFailures(logins);
}

/** Measures a steady trickle of metered calls, in turn alone and while log-ins come as fast as they are answered. */
export async function measureStorm({ service, caller, load, plan }) {
  const { stormRounds: rounds, stormSeconds: seconds } = plan;
  const call = { ...generateCall(service.url, caller.apiKey), ratePerSecond: CALLS_PER_SECOND, seconds };
  const login = { ...loginCall(service.url, caller.credentials), connections: CALLERS, seconds };
  const { subject: storm } = await startScript('load.mjs');
  const calm = [];
  const stormy = [];
  const logins = [];
  for (let round = 0; round < rounds; round++) {
    calm.push(await load.ask('pace', call));
    const [answered, called] = await Promise.all([storm.ask('load', login), load.ask('pace', call)]);
    logins.push(answered);
    stormy.push(called);
  }
  await storm.stop();
  printTable(
    `Metered calls at a steady ${CALLS_PER_SECOND} a second, ${rounds} rounds of ${seconds} s each`,
    ['', 'p50 ms', 'p99 ms', 'of calm p99', 'bar'],
    [
      ['calm', spread(column(calm, 'p50Ms')), spread(column(calm, 'p99Ms')), '', ''],
      [
        `during ${spread(column(logins, 'perSecond'))} log-ins a second`,
        spread(column(stormy, 'p50Ms')),
        spread(column(stormy, 'p99Ms')),
        ratio(stormy, calm, 'p99Ms'),
        '<= 3',
      ],
    ],
  );
  warnOfFailures([...calm, ...stormy, ...logins]);
}
