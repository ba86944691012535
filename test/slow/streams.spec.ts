import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { FakeProvider } from '../support/fake-providers';
import { ServicePair } from '../system/support/service-pair';
import { until } from '../system/support/service-process';

/** Set STREAM_ROUNDS for more than the default. */
const rounds = Math.max(1, Number.parseInt(process.env['STREAM_ROUNDS'] ?? '4', 10));
const STREAMS = 8;
const STREAMS_BEFORE_MAX = 50;
/** Several commits long, so that the kill finds streams at any point of their way. */
const KILL_DELAY_MS_MAX = 30;
const LIMIT_MS = 60_000;
const TIMEOUT_SECONDS = 10;
/** Of the reader who does not read, beyond that time. */
const LATE_SECONDS = 5;
const PROMPT = 'Write one sentence about the sea.';
const INPUT_ESTIMATE = Math.ceil(PROMPT.length / 4);

jest.setTimeout(120_000 + rounds * LIMIT_MS);

/** What a reader saw of one stream. */
interface Seen {
  readonly provider: 'openai' | 'echo';
  /** Of the answer's head; undefined: none came. */
  requestId?: string;
  text: string;
}

interface Line {
  readonly id: string;
  readonly input_tokens: number;
  readonly output_tokens: number;
  readonly tokens_used: number;
  readonly is_estimate: boolean;
}

let pair: ServicePair;
let fake: FakeProvider;
/** Of a user without a cap, and of one with. */
let apiKeys: string[];
/** What a whole answer of each provider counts. */
let wholeTokens: Record<Seen['provider'], number>;
/** All streams so far. */
const seen: Seen[] = [];

beforeAll(async () => {
  fake = await FakeProvider.start('openai');
  pair = await ServicePair.start({
    OPENAI_API_KEY: fake.apiKey,
    OPENAI_BASE_URL: fake.baseUrl,
    PROVIDER_TIMEOUT_SECONDS: String(TIMEOUT_SECONDS),
  });
  apiKeys = await pair.makeFreeAndCappedKeys();
  const wholes = [await stream(0, 'echo'), await stream(0, 'openai')].map(({ text }) => tokensOf(text) ?? 0);
  wholeTokens = { echo: wholes[0] ?? 0, openai: wholes[1] ?? 0 };
});

afterAll(async () => {
  await pair.end();
  await fake.close();
});

it(`M1: kill -9 in the middle of streams, ${rounds} times: each that has begun is charged once, what ended at what it said, what was cut off at its estimate`, async () => {
  for (let round = 0; round < rounds; round++) {
    const { ended, cutOff } = await streamAndKill(round);
    const lines = await readLedger();
    expect({ round, ...findings(lines) }).toEqual({ round, lost: [], doubled: [], wrong: [], neverSent: 0 });
    expect({ round, ended: ended.filter(({ text }) => tokensOf(text) === undefined) }).toEqual({
      round,
      ended: [],
    });
    const isEstimated = ({ requestId }: Seen): boolean => isEstimate(lines.get(requestId ?? '')?.[0]);
    expect({ round, cutOff: cutOff.filter((one) => !isEstimated(one)) }).toEqual({ round, cutOff: [] });
    expect(await pair.findings()).toEqual([]);
  }
  await report();
});

it('a reader who does not read is cut off five seconds after the time is over, and charged for what had come', async () => {
  fake.behaviour = 'endless';
  fake.answer = { text: `x ${`${'y'.repeat(10_000)} `.repeat(10)}`, inputTokens: 5, outputTokens: 5 };
  const cutOffMs = (TIMEOUT_SECONDS + LATE_SECONDS) * 1_000;
  const startedMs = performance.now();
  const answer = await ask(0, 'openai');
  const id = answer.headers.get('x-request-id') ?? '';
  await until(async () => (await readLedger()).has(id), cutOffMs + LIMIT_MS);
  expect(performance.now() - startedMs).toBeGreaterThan(cutOffMs - 100);
  expect((await readLedger()).get(id)).toMatchObject([{ input_tokens: INPUT_ESTIMATE, is_estimate: true }]);
  await expect(answer.text()).rejects.toThrow();
  expect(await pair.findings()).toEqual([]);
});

/**
 * Streams on their way, and streams in their middle, over both processes, when one of them or both are killed. Resolves
 * when all is settled, by the one that lives or by one that was started again.
 * @returns those that must have ended, and those in their middle whose process was killed.
 */
async function streamAndKill(round: number): Promise<{ ended: Seen[]; cutOff: Seen[] }> {
  const ended = await Promise.all(Array.from({ length: STREAMS }, (_, n) => stream(n, 'openai')));
  const release = fake.closeGate('streamGate');
  const middle = Array.from({ length: STREAMS }, () => begin('openai'));
  const reading = middle.map((one, n) => stream(n, 'openai', one));
  await until(() => middle.every(({ text }) => text !== ''), LIMIT_MS);

  const before = seen.length + randomInt(STREAMS_BEFORE_MAX);
  const ending = new AbortController();
  const running = Array.from({ length: STREAMS }, async (_, n) => {
    while (!ending.signal.aborted && tokensOf((await stream(n, 'echo')).text) !== undefined);
  });
  await until(() => seen.length >= before, LIMIT_MS);
  await sleep(randomInt(KILL_DELAY_MS_MAX));
  const victims = pair.services.filter((_, n) => round % 3 === 2 || n === round % 2);
  await Promise.all(victims.map((victim) => victim.kill()));
  ending.abort();
  release();
  await Promise.all([...reading, ...running]);

  const startAgain = (): Promise<unknown> => Promise.all(victims.map((victim) => victim.start()));
  const oneLives = victims.length === 1;
  if (!oneLives) await startAgain();
  await pair.letHoldsExpire();
  if (oneLives) await startAgain();
  const wasKilled = (_: Seen, n: number): boolean =>
    victims.some((victim) => victim === pair.services[n % 2]);
  const others = middle.filter((one, n) => !wasKilled(one, n));
  return { ended: [...ended, ...others], cutOff: middle.filter(wasKilled) };
}

/** What must not be, by the streams concerned; a stream of which no head was seen may have left a line. */
function findings(lines: ReadonlyMap<string, readonly Line[]>): Record<string, unknown> {
  const begun = seen.filter(({ requestId }) => requestId !== undefined);
  const linesFor = ({ requestId = '' }: Seen): readonly Line[] => lines.get(requestId) ?? [];
  const isRight = ({ provider, text }: Seen, line: Line | undefined): boolean => {
    const told = tokensOf(text);
    if (told === undefined && isEstimate(line)) return true;
    return line?.is_estimate === false && line.tokens_used === (told ?? wholeTokens[provider]);
  };
  return {
    lost: begun.filter((one) => linesFor(one).length === 0),
    doubled: begun.filter((one) => linesFor(one).length > 1),
    wrong: begun.filter((one) => !isRight(one, linesFor(one)[0])),
    neverSent: Math.max(0, lines.size - seen.length),
  };
}

/** Whether a line is what a stream leaves whose process died. */
function isEstimate(line: Line | undefined): boolean {
  return line?.is_estimate === true && line.input_tokens === INPUT_ESTIMATE && line.output_tokens === 0;
}

/** Each line by its id, which is that of its request. */
async function readLedger(): Promise<Map<string, Line[]>> {
  const { rows } = await pair.asOwner((db) =>
    db.query<Line>(
      `SELECT id, input_tokens, output_tokens, tokens_used, metadata ? 'estimated' AS is_estimate FROM usage_logs`,
    ),
  );
  return Map.groupBy(rows, ({ id }) => id);
}

function begin(provider: Seen['provider']): Seen {
  return { provider, text: '' };
}

/** Asks the nth process, and reads as far as it goes. */
async function stream(n: number, provider: Seen['provider'], one = begin(provider)): Promise<Seen> {
  seen.push(one);
  try {
    const answer = await ask(n, provider);
    one.requestId = answer.headers.get('x-request-id') ?? '';
    for await (const chunk of answer.body ?? []) one.text += Buffer.from(chunk as Uint8Array).toString();
  } catch (error) {
    // So fetch tells that a connection broke, before the head and after it.
    if (!(error instanceof TypeError)) throw error;
  }
  return one;
}

/** @throws Error when it is refused. */
async function ask(n: number, provider: Seen['provider']): Promise<Response> {
  const answer = await fetch(`${pair.urls[n % 2] ?? ''}/api/v1/generate`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-api-key': apiKeys[Math.floor(n / 2) % 2] ?? '',
      connection: 'close',
    },
    body: JSON.stringify({ user_id: 'reader', prompt: PROMPT, provider, stream: true }),
  });
  if (answer.status !== 200) throw new Error(`A stream was refused: ${answer.status} ${await answer.text()}`);
  return answer;
}

/** What a stream said at its end that it used; undefined: its end did not come. */
function tokensOf(text: string): number | undefined {
  const done = /event: done\ndata: (.*)\n\n/.exec(text)?.[1];
  return done === undefined
    ? undefined
    : (JSON.parse(done) as { usage: { total_tokens: number } }).usage.total_tokens;
}

async function report(): Promise<void> {
  const lines = [...(await readLedger()).values()].flat();
  const ended = seen.filter(({ text }) => tokensOf(text) !== undefined).length;
  const cutOff = seen.filter(({ requestId }) => requestId !== undefined).length - ended;
  process.stdout.write(
    `streams, kill -9: ${rounds} rounds, ${seen.length} streams, ${ended} ended, ${cutOff} cut off after their head, ` +
      `${seen.length - ended - cutOff} before; ${lines.length} lines, ${lines.filter(isEstimate).length} of them by an estimate; ` +
      `0 lost, 0 doubled, nothing left held\n`,
  );
}
