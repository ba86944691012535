import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { EntityManager } from 'typeorm';
import { defaultModels, type RemoteProvider } from '../../src/generate/language-models';
import { Holds } from '../../src/usage/holds';
import { Ledger } from '../../src/usage/ledger';
import { UsageHold } from '../../src/usage/usage-hold.entity';
import { UsageLog } from '../../src/usage/usage-log.entity';
import { FakeProvider } from '../support/fake-providers';
import type { Answer } from '../support/http';
import { sqlOf } from '../support/statements';
import { isCluster, itAlone, startTestApp, type TestApp } from '../support/test-app';

const PROMPT = 'Write one sentence about the sea.';
/** The bytes of the prompt and of the first word that the fake streams, at four a token. */
const INPUT_ESTIMATE = Math.ceil(PROMPT.length / 4);
const FIRST_WORD_ESTIMATE = 1;
/** PROVIDER_TIMEOUT_SECONDS and the minute beyond it. */
const HOLD_MS = 120_000;

interface Event {
  readonly name: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a test reads any field and asserts on it
  readonly data: any;
}

describe('POST /generate with "stream": true', () => {
  let t: TestApp;
  let fakes: Record<RemoteProvider, FakeProvider>;
  let fake: FakeProvider;
  let settings: Record<string, string>;
  let apiKey: Awaited<ReturnType<TestApp['make']['apiKey']>>;
  beforeAll(async () => {
    const [gemini, openai, anthropic] = await Promise.all([
      FakeProvider.start('gemini'),
      FakeProvider.start('openai'),
      FakeProvider.start('anthropic'),
    ]);
    fakes = { gemini, openai, anthropic };
    fake = openai;
    settings = {
      GEMINI_API_KEY: gemini.apiKey,
      GEMINI_BASE_URL: gemini.baseUrl,
      OPENAI_API_KEY: openai.apiKey,
      OPENAI_BASE_URL: openai.baseUrl,
      ANTHROPIC_API_KEY: anthropic.apiKey,
      ANTHROPIC_BASE_URL: anthropic.baseUrl,
    };
    t = await startTestApp({ settings });
  });
  beforeEach(async () => {
    const { id: userId } = await t.make.user({ tierOverride: 'starter' });
    apiKey = await t.make.apiKey({ userId });
  });
  afterEach(() => {
    t.clock.reset();
    fake.behaviour = 'ok';
    fake.streamGate = undefined;
    fake.answer = { text: 'The sea is wide.', inputTokens: 19, outputTokens: 12 };
  });
  afterAll(async () => {
    await t.close();
    for (const each of Object.values(fakes)) await each.close();
  });

  const bodyOf = (fields: object): object => ({
    user_id: 'end-user-7',
    prompt: PROMPT,
    provider: 'openai',
    stream: true,
    ...fields,
  });
  const stream = (fields: object = {}, headers?: Record<string, string>): Promise<Answer> =>
    t.http.post('/generate', { key: apiKey.key, body: bodyOf(fields), headers });
  const lines = (): Promise<UsageLog[]> => t.db.findBy(UsageLog, { userId: apiKey.userId });
  const holds = (): Promise<number> => t.db.countBy(UsageHold, { userId: apiKey.userId });
  const sweep = (): Promise<void> => t.app.get(Holds, { strict: false }).sweep();

  /** Statements that wait for a lock. */
  const waiting = async (): Promise<number> => {
    const [row] = await t.db.query<{ count: number }[]>(
      `SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return row?.count ?? 0;
  };

  /** Asks by a connection of its own. */
  function ask(fields: object = {}, url = t.url): ClientRequest {
    const asked = request(`${url}/api/v1/generate`, {
      method: 'POST',
      agent: false,
      headers: { 'x-api-key': apiKey.key, 'content-type': 'application/json' },
    });
    asked.on('error', () => undefined);
    asked.end(JSON.stringify(bodyOf(fields)));
    return asked;
  }

  /** The same, and resolves with the beginning of the answer. */
  async function open(
    fields: object = {},
    url = t.url,
  ): Promise<{ asked: ClientRequest; answer: IncomingMessage }> {
    const asked = ask(fields, url);
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    answer.on('error', () => undefined);
    return { asked, answer };
  }

  it.each(['gemini', 'openai', 'anthropic'] as const)(
    'gives the pieces of %s as they come, and at the end what was used and what it costs, which is in the ledger',
    async (provider) => {
      const answer = await stream({ provider });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
      expect(answer.headers.get('ratelimit')).toContain('"api-key"');
      expect(answer.headers.get('cache-control')).toBe('no-store');
      // For nginx, which keeps it to itself.
      expect(answer.headers.get('x-accel-buffering')).toBe(isCluster ? null : 'no');
      const events = eventsOf(answer.text);
      expect(events.map(({ name }) => name)).toEqual(['text', 'text', 'text', 'text', 'done']);
      expect(textOf(events)).toBe('The sea is wide.');
      const [line] = await lines();
      expect(events.at(-1)?.data).toEqual({
        request_id: answer.headers.get('x-request-id'),
        provider,
        model: defaultModels[provider],
        usage: {
          input_tokens: 19,
          output_tokens: 12,
          total_tokens: 31,
          cost_usd: Number(line?.costUsd),
        },
      });
      expect(line).toMatchObject({
        id: answer.headers.get('x-request-id'),
        provider,
        inputTokens: 19,
        outputTokens: 12,
        cachedTokens: provider === 'anthropic' ? 6 : 7,
        metadata: { status_code: 200, end_user: 'end-user-7' },
      });
      expect(line?.metadata).not.toHaveProperty('estimated');
      expect([await lines(), await holds()]).toMatchObject([[{}], 0]);
    },
  );

  it('streams echo word by word, cut at max_tokens, and counts as the ordinary answer does', async () => {
    const fields = { provider: 'echo', prompt: 'one two three four five', max_tokens: 3 };
    const events = eventsOf((await stream(fields)).text);
    const ordinary = await stream({ ...fields, stream: false });
    expect(events.slice(0, -1).map(({ data }) => data.text as string)).toEqual(['one ', 'two ', 'three']);
    expect(events.at(-1)?.data.usage).toEqual(ordinary.body.usage);
    expect(ordinary.body.text).toBe('one two three');
  });

  it.each([
    ['server_error', 502],
    ['bad_request', 400],
    ['rate_limited', 503],
    ['drop', 502],
    ['html', 502],
  ] as const)(
    'answers an ordinary problem when %s comes before the first piece, at no cost',
    async (behaviour, status) => {
      fake.behaviour = behaviour;
      const answer = await stream();
      expect(answer.status).toBe(status);
      expect(answer.headers.get('content-type')).toContain('application/problem+json');
      expect([await lines(), await holds()]).toEqual([[], 0]);
    },
  );

  it.each(['break', 'no_usage'] as const)(
    'ends with an error event when the provider fails in the middle: %s; nothing is charged',
    async (behaviour) => {
      fake.behaviour = behaviour;
      const answer = await stream();
      const events = eventsOf(answer.text);
      expect(events[0]?.name).toBe('text');
      expect(events.at(-1)).toMatchObject({
        name: 'error',
        data: {
          type: 'urn:problem-type:cortex-auth:provider_error',
          status: 502,
          code: 'provider_error',
          request_id: answer.headers.get('x-request-id'),
        },
      });
      expect(answer.text).not.toMatch(/127\.0\.0\.1|fake-/);
      expect([await lines(), await holds()]).toEqual([[], 0]);
    },
  );

  it('charges what had come when its reader leaves in the middle, and lets go of the provider', async () => {
    fake.closeGate('streamGate');
    const arrival = fake.nextRequest();
    const { asked, answer } = await open();
    await once(answer, 'data');
    expect(await holds()).toBe(1);
    asked.destroy();
    await (
      await arrival
    ).closed;

    const [line] = await until(lines, (found) => found.length > 0);
    expect(line).toMatchObject({
      inputTokens: INPUT_ESTIMATE,
      outputTokens: FIRST_WORD_ESTIMATE,
      metadata: { status_code: 200, end_user: 'end-user-7', estimated: true },
    });
    expect(await holds()).toBe(0);
  });

  it('charges the input when its reader leaves before the first piece', async () => {
    fake.behaviour = 'hang';
    const arrival = fake.nextRequest();
    const caller = new AbortController();
    const lost = fetch(`${t.url}/api/v1/generate`, {
      method: 'POST',
      headers: { 'x-api-key': apiKey.key, 'content-type': 'application/json' },
      body: JSON.stringify(bodyOf({})),
      signal: caller.signal,
    }).catch(() => 'gone');
    const { closed } = await arrival;
    caller.abort();
    await Promise.all([lost, closed]);
    const [line] = await until(lines, (found) => found.length > 0);
    expect(line).toMatchObject({
      inputTokens: INPUT_ESTIMATE,
      outputTokens: 0,
      metadata: { estimated: true },
    });
    expect(await holds()).toBe(0);
  });

  itAlone('inside').each([
    ['it is known who calls', 'api_keys'],
    ['its hold is there', 'usage_months'],
  ])('costs nothing when its reader leaves before %s', async (_when, table) => {
    const ledger = t.app.get(Ledger, { strict: false });
    const ends = [jest.spyOn(ledger, 'append'), jest.spyOn(ledger, 'release')];
    const requests = fake.requests.length;
    await t.db.transaction(async (tx) => {
      await tx.query(`LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
      const arrival = once(t.app.getHttpServer(), 'request');
      const asked = ask();
      const [, response] = (await arrival) as [IncomingMessage, ServerResponse];
      await until(waiting, (count) => count > 0);
      asked.destroy();
      await once(response, 'close');
    });
    await until(holds, () => ends.some(({ mock }) => mock.calls.length > 0));
    await until(holds, (left) => left === 0);
    expect([fake.requests.length, await lines()]).toEqual([requests, []]);
    for (const end of ends) end.mockRestore();
  });

  itAlone('inside')(
    'costs nothing when it is refused because the answer to its hold was lost, and lets go of the hold',
    async () => {
      // From here on its month has a row.
      await stream();
      const before = await lines();
      const db = t.app.get(EntityManager);
      const query = db.query.bind(db);
      const losing = jest.spyOn(db, 'query').mockImplementation(async (sql, ...sent) => {
        const rows: unknown = await query(sql, ...sent);
        if (sqlOf(sql).includes('INSERT INTO usage_holds'))
          throw new Error('Connection terminated unexpectedly');
        return rows;
      });
      const refused = await stream();
      losing.mockRestore();
      expect([refused.status, await holds()]).toEqual([503, 1]);
      t.clock.advance(HOLD_MS);
      await sweep();
      expect([await lines(), await holds()]).toEqual([before, 0]);
    },
  );

  itAlone('inside')(
    'has a hold before its first byte, by which a call whose process died is charged once, and never twice',
    async () => {
      const release = fake.closeGate('streamGate');
      const { answer } = await open();
      await once(answer, 'data');
      const [hold] = await t.db.findBy(UsageHold, { userId: apiKey.userId });
      expect(JSON.stringify(hold?.lineIfLost)).not.toMatch(/end-user-7|127\.0\.0\.1|10\.\d/);

      // As if its process stood still for longer than a call can take: others take it for dead.
      await sweep();
      expect(await lines()).toEqual([]);
      t.clock.advance(HOLD_MS);
      const other = await startTestApp({ settings, databaseUrl: t.databaseUrl });
      other.clock.advance(HOLD_MS);
      await Promise.all([sweep(), other.app.get(Holds, { strict: false }).sweep()]);
      await other.close();
      const swept = await lines();
      expect(swept).toMatchObject([
        {
          id: hold?.id,
          inputTokens: INPUT_ESTIMATE,
          outputTokens: 0,
          ipAddress: null,
          metadata: { estimated: true },
        },
      ]);
      expect(await holds()).toBe(0);

      release();
      answer.resume();
      await once(answer, 'end');
      await sweep();
      expect(await lines()).toEqual(swept);
    },
  );

  itAlone('inside')(
    'is free when its provider fails, also when a sweep has seen its hold just before',
    async () => {
      fake.behaviour = 'break';
      const release = fake.closeGate('streamGate');
      const { answer } = await open();
      await once(answer, 'data');
      const [hold] = await t.db.findBy(UsageHold, { userId: apiKey.userId });
      if (!hold?.lineIfLost) throw new Error('The hold of the stream is missing.');
      release();
      answer.resume();
      await once(answer, 'end');
      expect(await holds()).toBe(0);

      const line = { ...hold.lineIfLost, createdAt: new Date(hold.lineIfLost.createdAt) };
      await t.app.get(Ledger, { strict: false }).releaseLost(hold, line);
      expect(await lines()).toEqual([]);
    },
  );

  itAlone('inside')('is free when its provider fails, also when that cannot be written now', async () => {
    fake.behaviour = 'break';
    const release = fake.closeGate('streamGate');
    const { answer } = await open();
    await once(answer, 'data');
    await t.db.query('ALTER TABLE usage_months ADD CONSTRAINT keep_all CHECK (held_tokens > 0) NOT VALID');
    try {
      release();
      answer.resume();
      await once(answer, 'end');
      expect(await holds()).toBe(1);
    } finally {
      await t.db.query('ALTER TABLE usage_months DROP CONSTRAINT keep_all');
    }
    t.clock.advance(HOLD_MS);
    await sweep();
    expect([await lines(), await holds()]).toEqual([[], 0]);
  });

  it('is refused by a budget before it begins, like any call', async () => {
    const { key, id } = await t.make.apiKey({ userId: apiKey.userId, monthlyBudgetUsd: '0.000001' });
    const refused = await t.http.post('/generate', { key, body: bodyOf({}) });
    expect([refused.status, refused.body.code]).toEqual([402, 'budget_exceeded']);
    expect(await t.db.countBy(UsageLog, { apiKeyId: id })).toBe(0);
  });

  it('is refused together with an Idempotency-Key (M2)', async () => {
    const refused = await stream({}, { 'idempotency-key': '"stream"' });
    expect([refused.status, refused.body.code]).toEqual([400, 'stream_not_repeatable']);
    expect([await lines(), await holds()]).toEqual([[], 0]);
  });

  it('asks for no more than its reader takes', async () => {
    fake.behaviour = 'endless';
    fake.answer = { text: `x ${`${'y'.repeat(10_000)} `.repeat(10)}`, inputTokens: 5, outputTokens: 5 };
    const { asked, answer } = await open();
    let before = -1;
    // What is sent stands still, when the sockets and buffers in between are full.
    while (before < fake.sentBytes && fake.sentBytes < 256_000_000) {
      before = fake.sentBytes;
      await t.settled();
    }
    expect(fake.sentBytes).toBeLessThan(64_000_000);
    asked.destroy();
    answer.destroy();
    const [line] = await until(lines, (found) => found.length > 0);
    expect(line?.outputTokens).toBe(1_024);
  });

  itAlone('own-second')('is written to its end, and booked, when the service is told to stop', async () => {
    const stopped = await startTestApp({ settings, databaseUrl: t.databaseUrl });
    const release = fake.closeGate('streamGate');
    const { answer } = await open({}, stopped.url);
    const chunks: Buffer[] = [];
    answer.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(answer, 'data');
    const closing = stopped.close();
    release();
    await once(answer, 'end');
    await closing;
    expect(eventsOf(Buffer.concat(chunks).toString()).at(-1)?.name).toBe('done');
    expect(await lines()).toMatchObject([{ tokensUsed: 31 }]);
  });

  itAlone('own-second')(
    'is cut off after the longest time a call may take, which charges what had come',
    async () => {
      const quick = await startTestApp({
        settings: { ...settings, PROVIDER_TIMEOUT_SECONDS: '1' },
        databaseUrl: t.databaseUrl,
      });
      fake.behaviour = 'stall';
      const cut = await quick.http.post('/generate', { key: apiKey.key, body: bodyOf({}) });
      expect(eventsOf(cut.text).at(-1)).toMatchObject({
        name: 'error',
        data: { code: 'stream_cut_off', status: 504 },
      });
      expect(await lines()).toMatchObject([
        { inputTokens: INPUT_ESTIMATE, outputTokens: FIRST_WORD_ESTIMATE },
      ]);

      fake.behaviour = 'hang';
      const slow = await quick.http.post('/generate', { key: apiKey.key, body: bodyOf({}) });
      expect([slow.status, slow.body.code]).toEqual([504, 'provider_timeout']);
      expect(await lines()).toHaveLength(1);
      expect(await holds()).toBe(0);
      await quick.close();
    },
  );

  itAlone('inside')('is booked as it ended when the database hangs at its end and then goes on', async () => {
    const ledger = t.app.get(Ledger, { strict: false });
    const append = jest.spyOn(ledger, 'append').mockRejectedValueOnce(new Error('Query read timeout'));
    const events = eventsOf((await stream()).text);
    append.mockRestore();
    expect(events.at(-1)).toMatchObject({ name: 'done' });
    expect([await lines(), await holds()]).toMatchObject([[{ metadata: { status_code: 200 } }], 0]);
  });

  itAlone('inside')('says so when its usage cannot be written, and is charged once at most', async () => {
    await t.db.query('ALTER TABLE usage_logs ADD CONSTRAINT refuse_all CHECK (false) NOT VALID');
    let events: Event[];
    try {
      events = eventsOf((await stream()).text);
    } finally {
      await t.db.query('ALTER TABLE usage_logs DROP CONSTRAINT refuse_all');
    }
    expect(events.at(-1)).toMatchObject({ name: 'error', data: { code: 'stream_not_booked', status: 503 } });
    expect([await lines(), await holds()]).toEqual([[], 1]);
    t.clock.advance(HOLD_MS);
    await sweep();
    expect(await lines()).toMatchObject([{ inputTokens: INPUT_ESTIMATE, outputTokens: 0 }]);
  });
});

function eventsOf(text: string): Event[] {
  return text
    .split('\n\n')
    .filter((block) => block !== '')
    .map((block) => {
      const [, name = '', data = ''] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
      return { name, data: JSON.parse(data) as unknown };
    });
}

function textOf(events: readonly Event[]): string {
  return events.map(({ data }) => (data as { text?: string }).text ?? '').join('');
}

async function until<T>(read: () => Promise<T>, isEnough: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await read();
    if (isEnough(value)) return value;
  }
}
