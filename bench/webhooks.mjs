import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { freePort, startScript } from './support/processes.mjs';
import { describeMachine, printTable } from './support/report.mjs';
import { startService } from './support/service.mjs';
import { onStage } from './support/stage.mjs';

/*
 * npm run bench:webhooks                          500 deliveries of Polar a second, while Polar itself does not answer
 * npm run bench:webhooks -- --rate 200 --seconds 30
 */
const { values: options } = parseArgs({
  options: { rate: { type: 'string', default: '500' }, seconds: { type: 'string', default: '10' } },
});
const WARM_UP_SECONDS = 3;

await onStage(async (stage) => {
  console.log(await describeMachine(stage.database));
  const webhookSecret = `whsec_${randomBytes(32).toString('base64')}`;
  const { url } = await startService(stage, {
    env: {
      POLAR_API_KEY: `polar_oat_${randomBytes(24).toString('hex')}`,
      POLAR_WEBHOOK_SECRET: webhookSecret,
      // Nobody listens there.
      POLAR_SERVER: `http://127.0.0.1:${await freePort()}`,
    },
  });
  const { subject: load } = await startScript('load.mjs');
  const call = { url: `${url}/api/v1/webhooks/polar`, webhookSecret, ratePerSecond: Number(options.rate) };
  await load.ask('pace', { ...call, seconds: WARM_UP_SECONDS });
  const before = await storedEvents(stage.database);
  const result = await load.ask('pace', { ...call, seconds: Number(options.seconds) });
  const stored = (await storedEvents(stage.database)) - before;

  const ms = (value) => `${value.toFixed(1)} ms`;
  printTable(
    `Deliveries of Polar, ${options.rate} a second`,
    ['taken', 'stored', 'p50', 'p99', 'p99.9', 'bar', 'others'],
    [
      [
        String(result.answered),
        String(stored),
        ms(result.p50Ms),
        ms(result.p99Ms),
        ms(result.p999Ms),
        'p99.9 < 2000 ms',
        JSON.stringify(result.failures),
      ],
    ],
  );
});

async function storedEvents(database) {
  const { rows } = await database.query('SELECT count(*)::int AS events FROM billing_events');
  return rows[0].events;
}
