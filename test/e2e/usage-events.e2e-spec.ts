import { v7 as uuidv7 } from 'uuid';
import type { EventReportDto, EventResultDto } from '../../src/gateway/usage-events.dto';
import { UsageEvent } from '../../src/usage/usage-event.entity';
import { UsageLog } from '../../src/usage/usage-log.entity';
import type { Answer } from '../support/http';
import { startTestApp, type TestApp } from '../support/test-app';

const DAY_MS = 24 * 3_600_000;
const ROUNDS = Math.max(1, Number.parseInt(process.env['EVENT_ROUNDS'] ?? '2', 10));

jest.setTimeout(60_000 + ROUNDS * 5_000);

describe('POST /usage/events', () => {
  let t: TestApp;
  let other: TestApp;
  let reporter: { key: string; userId: string };
  beforeAll(async () => {
    t = await startTestApp();
    other = await startTestApp({ databaseUrl: t.databaseUrl });
    reporter = await makeReporter();
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(async () => {
    await other.close();
    await t.close();
  });

  async function makeReporter(): Promise<{ key: string; userId: string }> {
    const { id: userId } = await t.make.user({ tierOverride: 'internal' });
    return t.make.apiKey({ userId, rateLimitPerMinute: 1_000_000, servicePermissions: ['usage:write'] });
  }

  const report = (events: unknown[], by: TestApp = t, { key } = reporter): Promise<Answer> =>
    by.http.post('/usage/events', { key, body: { events } });
  const resultsOf = ({ body }: Answer): EventResultDto[] => (body as EventReportDto).results;
  const statusesOf = (answer: Answer): string[] => resultsOf(answer).map(({ status }) => status);
  const linesOf = (userId: string): Promise<UsageLog[]> => t.db.findBy(UsageLog, { userId });
  const event = (userId: string, fields: object = {}): Record<string, unknown> => ({
    id: uuidv7(),
    operation: 'search',
    user_id: userId,
    input_tokens: 6,
    output_tokens: 4,
    ...fields,
  });

  it('books a call that another service has served, at the price of its operation, for the owner of the key', async () => {
    const { id: apiKeyId, userId } = await t.make.apiKey();
    const time = new Date(t.clock.nowMs() - DAY_MS).toISOString();
    const sent = event(userId, {
      user_id: undefined,
      api_key_id: apiKeyId,
      source: 'https://search.example.com',
      time,
      provider: 'openai',
      model: 'm',
      cached_tokens: 2,
      end_user: 'customer-7',
      metadata: { hits: 3 },
    });
    const answer = await report([sent]);
    expect(answer).toMatchObject({
      status: 200,
      body: { created: 1, duplicate: 0, conflict: 0, invalid: 0 },
    });
    const [result] = resultsOf(answer);
    expect(await linesOf(userId)).toMatchObject([
      {
        id: result?.line_id,
        apiKeyId,
        operation: 'search',
        provider: 'openai',
        model: 'm',
        inputTokens: 6,
        outputTokens: 4,
        cachedTokens: 2,
        tokensUsed: 10,
        costUsd: '0.001000000',
        metadata: {
          event: { source: 'https://search.example.com', id: sent['id'] },
          end_user: 'customer-7',
          reported: { hits: 3 },
        },
        createdAt: new Date(time),
      },
    ]);
  });

  it('takes CloudEvents: one, a batch of them, and among its own; the same event in either form is the same', async () => {
    const { id: userId } = await t.make.user();
    const cloudEvent = (id: string): object => ({
      specversion: '1.0',
      id,
      source: 'urn:search',
      type: 'search',
      subject: userId,
      data: { input_tokens: 6, output_tokens: 4 },
    });
    const send = (type: string, body: unknown): Promise<Answer> =>
      t.http.post('/usage/events', {
        key: reporter.key,
        raw: JSON.stringify(body),
        headers: { 'content-type': `application/${type}; charset=utf-8` },
      });
    expect(statusesOf(await send('cloudevents+json', cloudEvent('one')))).toEqual(['created']);
    const batch = [cloudEvent('one'), cloudEvent('two')];
    expect(statusesOf(await send('cloudevents-batch+json', batch))).toEqual(['duplicate', 'created']);
    const own = event(userId, { source: 'urn:search', id: 'two' });
    expect(statusesOf(await report([own, cloudEvent('three')]))).toEqual(['duplicate', 'created']);
    expect(await linesOf(userId)).toHaveLength(3);
  });

  it('is the only route that takes the media types of CloudEvents', async () => {
    const answer = await t.http.post('/auth/login', {
      raw: '{}',
      headers: { 'content-type': 'application/cloudevents+json' },
    });
    expect([answer.status, answer.body.code]).toEqual([415, 'unsupported_media_type']);
  });

  it('M2: the same id with the same content is a duplicate, with other content a conflict; both name the first line', async () => {
    const { id: userId } = await t.make.user();
    const first = event(userId);
    const [created] = resultsOf(await report([first]));
    const again = resultsOf(
      await report([first, { ...first, input_tokens: 7 }, { ...first, source: 'elsewhere' }]),
    );
    expect(again).toMatchObject([
      { status: 'duplicate', line_id: created?.line_id },
      { status: 'conflict', line_id: created?.line_id },
      { status: 'created' },
    ]);
    expect((await linesOf(userId)).map(({ inputTokens }) => inputTokens)).toEqual([6, 6]);
  });

  it('M2: of the same id twice in one report the first is booked', async () => {
    const { id: userId } = await t.make.user();
    const first = event(userId);
    expect(statusesOf(await report([first, first, { ...first, output_tokens: 9 }]))).toEqual([
      'created',
      'duplicate',
      'conflict',
    ]);
    expect((await linesOf(userId)).map(({ outputTokens }) => outputTokens)).toEqual([4]);
  });

  it('M2: an event is charged to one customer, whoever is named later', async () => {
    const [{ id: userId }, { id: wrong }] = [await t.make.user(), await t.make.user()];
    const first = event(userId);
    await report([first]);
    expect(statusesOf(await report([{ ...first, user_id: wrong }]))).toEqual(['conflict']);
    expect(await linesOf(wrong)).toEqual([]);
  });

  it('knows ids of another reporter for others', async () => {
    const { id: userId } = await t.make.user();
    const first = event(userId);
    await report([first]);
    expect(statusesOf(await report([{ ...first, input_tokens: 1 }], t, await makeReporter()))).toEqual([
      'created',
    ]);
  });

  it(`M2: of the same events from twenty clients over two services, mixed with conflicts and invalid ones, each is stored once and each client is told the truth; ${ROUNDS} rounds`, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const { id: userId } = await t.make.user();
      const events = Array.from({ length: 60 }, (_, i) =>
        event(userId, { id: `${round}-${i}`, source: userId }),
      );
      const answers = await Promise.all(
        Array.from({ length: 20 }, async (_, client) => {
          // Each client's own: a tenth says something else, a tenth is wrong, in an order of its own.
          const mine = events.map((one, i) =>
            (i + client) % 10 === 0
              ? { ...one, input_tokens: 1_000 + client }
              : (i + client) % 10 === 5
                ? { ...one, input_tokens: -1 }
                : one,
          );
          const order = mine.map((_one, i) => (i * 7 + client * 13) % mine.length);
          const sent = order.map((i) => mine[i]);
          return { sent, results: resultsOf(await report(sent, client % 2 ? t : other)) };
        }),
      );

      const stored = new Map(
        (await linesOf(userId)).map((line) => [
          line.metadata.event?.id,
          { id: line.id, tokens: line.inputTokens },
        ]),
      );
      expect(stored.size).toBe(60);
      expect(await t.db.countBy(UsageLog, { userId })).toBe(60);
      const createdLines: string[] = [];
      for (const { sent, results } of answers) {
        for (const [i, one] of sent.entries()) {
          const result = results[i];
          const tokens = Number(one?.['input_tokens']);
          const line = stored.get(String(one?.['id']));
          if (tokens < 0) {
            expect(result).toMatchObject({ status: 'invalid', line_id: null });
            continue;
          }
          expect(result?.line_id).toBe(line?.id);
          if (result?.status === 'created') createdLines.push(result.line_id ?? '');
          else expect(result?.status).toBe(tokens === line?.tokens ? 'duplicate' : 'conflict');
          if (result?.status === 'created') expect(tokens).toBe(line?.tokens);
        }
      }
      expect(createdLines).toHaveLength(60);
      expect(new Set(createdLines).size).toBe(60);
      expect(await t.db.countBy(UsageEvent, { userId: reporter.userId })).toBeGreaterThanOrEqual(60);
    }
  });

  it('books what can be booked of a report, and says of everything else what is wrong with it', async () => {
    const { id: userId } = await t.make.user();
    const { id: foreignKey } = await t.make.apiKey();
    const wrong: [unknown, string][] = [
      [null, ''],
      [7, ''],
      ['text', ''],
      [[], ''],
      [{}, 'operation'],
      [event(userId, { id: '' }), 'id'],
      [event(userId, { id: 'a\0b' }), 'id'],
      [event(userId, { id: '\ud800' }), 'id'],
      [event(userId, { operation: 'no spaces' }), 'operation'],
      [event(userId, { input_tokens: -1 }), 'input_tokens'],
      [event(userId, { input_tokens: 1.5 }), 'input_tokens'],
      [event(userId, { input_tokens: '6' }), 'input_tokens'],
      [event(userId, { output_tokens: 2_147_483_648 }), 'output_tokens'],
      [event(userId, { output_tokens: 2_147_483_647 }), 'output_tokens'],
      [event(userId, { cached_tokens: 7 }), 'cached_tokens'],
      [event(userId, { user_id: undefined }), 'user_id'],
      [event(userId, { user_id: 'me' }), 'user_id'],
      [event(uuidv7()), 'user_id'],
      [event(userId, { api_key_id: foreignKey }), 'api_key_id'],
      [event(userId, { api_key_id: uuidv7() }), 'api_key_id'],
      [event(userId, { time: 'yesterday' }), 'time'],
      [event(userId, { time: new Date(t.clock.nowMs() + 6 * 60_000).toISOString() }), 'time'],
      [event(userId, { time: new Date(t.clock.nowMs() - 32 * DAY_MS).toISOString() }), 'time'],
      [event(userId, { metadata: { text: 'x'.repeat(5_000) } }), 'metadata'],
      [event(userId, { metadata: [] }), 'metadata'],
      [event(userId, { cost_usd: 1 }), 'cost_usd'],
      [JSON.parse(`{"id":"p","operation":"o","user_id":"${userId}","__proto__":{"a":1}}`), '__proto__'],
      [{ specversion: '0.3', id: 'a', source: 's', type: 'search', subject: userId }, 'specversion'],
      [
        { specversion: '1.0', id: 'a', source: 's', type: 'search', subject: userId, data_base64: 'e30=' },
        'data_base64',
      ],
    ];
    const sent = wrong.flatMap(([one]) => [event(userId), one]);
    const results = resultsOf(await report(sent));
    expect(results.filter((_result, i) => i % 2 === 0).every(({ status }) => status === 'created')).toBe(
      true,
    );
    const refused = results.filter((_result, i) => i % 2 === 1);
    expect(refused.map(({ status, line_id, errors }) => [status, line_id, errors[0]?.field])).toEqual(
      wrong.map(([, field]) => ['invalid', null, field]),
    );
    expect(await linesOf(userId)).toHaveLength(wrong.length);
  });

  it('takes a thousand events at once, and late ones into the month they belong to', async () => {
    const { id: userId } = await t.make.user();
    const late = new Date(t.clock.nowMs() - 31 * DAY_MS + 1_000).toISOString();
    const events = Array.from({ length: 1_000 }, (_, i) => event(userId, i % 2 ? { time: late } : {}));
    const answer = await report(events);
    expect(answer.body).toMatchObject({ created: 1_000, invalid: 0 });
    const months = await t.db.query<{ month: string; requests: string }[]>(
      'SELECT month, requests FROM usage_months WHERE user_id = $1 ORDER BY month',
      [userId],
    );
    expect(months.map(({ requests }) => requests)).toEqual(['500', '500']);
  });

  it('books what a clock that is ahead has seen as now', async () => {
    const { id: userId } = await t.make.user();
    const ahead = new Date(t.clock.nowMs() + 4 * 60_000);
    expect(statusesOf(await report([event(userId, { time: ahead.toISOString() })]))).toEqual(['created']);
    const [line] = await linesOf(userId);
    expect(line?.createdAt.getTime()).toBeLessThan(ahead.getTime());
    expect(line?.createdAt.getTime()).toBeLessThanOrEqual(t.clock.nowMs());
  });

  it('charges the prices of the moment it was done, also of reports that come later', async () => {
    const { id: userId } = await t.make.user();
    const { token: bearer } = await t.make.user({ role: 'admin' });
    const operation = `priced-${uuidv7()}`;
    const body = { operation, input_usd_per_million: 0, output_usd_per_million: 0, request_usd: 10_000 };
    const { effective_from: from, version } = (await t.http.post('/admin/prices', { bearer, body })).body as {
      effective_from: string;
      version: number;
    };
    t.clock.advance(60_000);
    const before = new Date(Date.parse(from) - 1).toISOString();
    await until(async () => {
      await report([event(userId, { operation, time: before }), event(userId, { operation, time: from })]);
      return (await linesOf(userId)).some(({ priceVersion }) => priceVersion === version);
    });
    const costs = (await linesOf(userId)).map((line) => [line.createdAt.toISOString() < from, line.costUsd]);
    expect(costs).toContainEqual([true, '0.001000000']);
    expect(costs).toContainEqual([false, '10000.000000000']);
  });

  it('books also what goes beyond a budget, counts it, and tells the owner', async () => {
    const user = await t.make.user({ tierOverride: 'starter', monthlyBudgetUsd: '0.002000' });
    const { id: apiKeyId, key } = await t.make.apiKey({ userId: user.id });
    const sent = event(user.id, { api_key_id: apiKeyId });
    expect(statusesOf(await report([sent, { ...sent, id: 'more' }, { ...sent, id: 'still more' }]))).toEqual([
      'created',
      'created',
      'created',
    ]);
    const call = { user_id: 'u', prompt: 'Hello', provider: 'echo' };
    expect((await t.http.post('/generate', { key, body: call })).status).toBe(402);
    const subjects = (await t.mails(user.email)).map(({ subject }) => subject);
    expect(subjects).toEqual([expect.stringContaining('100 %')]);
  });

  it('tells the owner nothing of a budget of a month that is over, when reports come late', async () => {
    const user = await t.make.user({ tierOverride: 'starter', monthlyBudgetUsd: '0.002000' });
    const now = t.clock.now();
    const lastMonth = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth()) - 1).toISOString();
    const late = ['a', 'b', 'c'].map((id) => event(user.id, { id, time: lastMonth }));
    expect(statusesOf(await report(late))).toEqual(['created', 'created', 'created']);
    expect(statusesOf(await report([event(user.id)]))).toEqual(['created']);
    await until(async () => (await t.mails(user.email)).length > 0);
    const subjects = (await t.mails(user.email)).map(({ subject }) => subject);
    expect(subjects).toEqual([expect.stringMatching(/^50 %/)]);
  });

  it('keeps no more of an event than its line and two digests', async () => {
    const { id: userId } = await t.make.user();
    await report([event(userId, { id: 'telling-id', source: 'telling-source' })]);
    const rows = await t.db.query<{ row: string }[]>('SELECT t::text AS row FROM usage_events t');
    expect(rows.some(({ row }) => row.includes('telling'))).toBe(false);
  });

  it('refuses a report that is none as a whole', async () => {
    for (const body of [
      {},
      { events: [] },
      { events: 1 },
      { events: Array(1_001).fill({}) },
      { events: [{}], more: 1 },
    ]) {
      const answer = await t.http.post('/usage/events', { key: reporter.key, body });
      expect([answer.status, answer.body.code]).toEqual([400, 'validation_failed']);
    }
    const large = { events: [event(uuidv7(), { metadata: { text: 'x'.repeat(2 * 1024 * 1024) } })] };
    expect((await t.http.post('/usage/events', { key: reporter.key, body: large })).status).toBe(413);
  });

  it('is closed to keys without the service permission, and to people', async () => {
    const { key } = await t.make.apiKey({ permissions: {} });
    const { token: bearer } = await t.make.user({ role: 'admin' });
    const body = { events: [event(uuidv7())] };
    expect((await t.http.post('/usage/events', { body })).status).toBe(401);
    const refused = await t.http.post('/usage/events', { key, body });
    expect([refused.status, refused.body.code]).toEqual([403, 'insufficient_permissions']);
    expect((await t.http.post('/usage/events', { bearer, body })).status).toBe(403);
  });
});

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo()));
}
