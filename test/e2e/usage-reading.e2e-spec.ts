import { v7 as uuidv7 } from 'uuid';
import { Ledger } from '../../src/usage/ledger';
import { ReadingDatabase } from '../../src/usage/reading/reading-database';
import { UsageLines } from '../../src/usage/reading/usage-lines';
import type { UsageLog } from '../../src/usage/usage-log.entity';
import type { Answer } from '../support/http';
import { itAlone, startTestApp, type TestApp } from '../support/test-app';
import { usageLine } from '../support/usage-lines';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

describe('reading usage', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterEach(() => {
    t.clock.reset();
    jest.restoreAllMocks();
  });
  afterAll(() => t.close());

  /** A user with these lines in the ledger. */
  async function userWith(lines: readonly Partial<UsageLog>[]): Promise<{ id: string; token: string }> {
    const user = await t.make.user();
    const ledger = t.app.get(Ledger, { strict: false });
    await Promise.all(lines.map((line) => ledger.append(usageLine({ ...line, userId: user.id }))));
    return user;
  }
  const at = (time: string, fields: Partial<UsageLog> = {}): Partial<UsageLog> => ({
    createdAt: new Date(time),
    ...fields,
  });
  const read = (
    what: string,
    { token }: { token: string },
    query: Record<string, string> = {},
  ): Promise<Answer> =>
    t.http.get(`/auth/usage/${what}?${new URLSearchParams(query).toString()}`, { bearer: token });

  describe('GET /auth/usage/timeseries', () => {
    it("sums up by the day of the caller's time zone, empty days too, with the exact cost", async () => {
      const user = await userWith([
        at('2026-03-27T22:59:59Z', { costUsd: '1.000000001' }),
        at('2026-03-27T23:00:00Z', { costUsd: '0.100000000', inputTokens: 10, outputTokens: 5 }),
        at('2026-03-28T22:59:59Z', { costUsd: '0.200000000' }),
        at('2026-03-29T22:00:00Z'),
      ]);
      const { status, body } = await read('timeseries', user, {
        from: '2026-03-28T00:00:00+01:00',
        to: '2026-03-30T00:00:00+02:00',
        time_zone: 'Europe/Berlin',
      });
      expect(status).toBe(200);
      const nothing = { requests: 0, input_tokens: 0, output_tokens: 0, total_tokens: 0, cost_usd: 0 };
      expect(body).toEqual({
        granularity: 'day',
        time_zone: 'Europe/Berlin',
        group_by: null,
        from: '2026-03-27T23:00:00.000Z',
        to: '2026-03-29T22:00:00.000Z',
        groups_omitted: 0,
        data: [
          {
            start: '2026-03-27T23:00:00.000Z',
            requests: 2,
            input_tokens: 11,
            output_tokens: 7,
            total_tokens: 18,
            cost_usd: 0.3,
            groups: [],
          },
          { start: '2026-03-28T23:00:00.000Z', ...nothing, groups: [] },
        ],
      });
    });

    it.each([
      ['hour', 24],
      ['day', 30],
      ['month', 12],
    ])('shows the latest buckets by the %s, up to now, when nothing is said', async (granularity, count) => {
      const { body } = await read('timeseries', await userWith([{}]), { granularity });
      expect(body.data).toHaveLength(count);
      expect(body.data.at(-1)).toMatchObject({ requests: 1, total_tokens: 3, cost_usd: 0.0003 });
      expect(new Date(body.to as string).getTime()).toBeGreaterThan(t.clock.nowMs());
    });

    it.each<[string, Partial<UsageLog>, Partial<UsageLog>]>([
      ['key', { apiKeyId: uuidv7() }, { apiKeyId: null }],
      ['operation', { operation: 'generate' }, { operation: 'embed' }],
      ['provider', { provider: 'openai' }, { provider: null }],
      ['model', { model: 'gpt' }, { model: null }],
    ])('breaks each bucket down by %s, the costliest first', async (groupBy, dear, cheap) => {
      const today = '2026-05-05T10:00:00Z';
      const user = await userWith([
        at(today, { ...cheap, costUsd: '0.1' }),
        at(today, { ...dear, costUsd: '0.2' }),
        at(today, { ...dear, costUsd: '0.3' }),
      ]);
      const { body } = await read('timeseries', user, {
        from: today,
        to: '2026-05-06T10:00:00Z',
        group_by: groupBy,
      });
      const [dearName, cheapName] = [Object.values(dear)[0], Object.values(cheap)[0]];
      expect(body.data).toMatchObject([
        {
          requests: 3,
          cost_usd: 0.6,
          groups: [
            { name: dearName, requests: 2, cost_usd: 0.5 },
            { name: cheapName, requests: 1, cost_usd: 0.1 },
          ],
        },
        { requests: 0, groups: [] },
      ]);
    });

    it('shows the twenty costliest groups, says how many more there are, and has all of them in the sums', async () => {
      const user = await userWith(
        Array.from({ length: 25 }, (_, i) =>
          at('2026-05-05T10:00:00Z', { model: `m${i}`, costUsd: String(i + 1) }),
        ),
      );
      const { body } = await read('timeseries', user, {
        from: '2026-05-05T00:00:00Z',
        to: '2026-05-06T00:00:00Z',
        group_by: 'model',
      });
      expect(body.groups_omitted).toBe(5);
      expect(body.data[0]).toMatchObject({ requests: 25, cost_usd: 325 });
      expect(body.data[0].groups.map(({ name }: { name: string }) => name)).toEqual(
        Array.from({ length: 20 }, (_, i) => `m${24 - i}`),
      );
    });

    it.each<[string, Record<string, string>, string]>([
      ['a zone that does not exist', { time_zone: 'Mars/Olympus' }, 'time_zone'],
      ['an unknown granularity', { granularity: 'week' }, 'granularity'],
      ['an unknown grouping', { group_by: 'user_id' }, 'group_by'],
      ['an empty span', { from: '2026-01-02T00:00:00Z', to: '2026-01-02T00:00:00Z' }, 'from'],
      ['a span from the future to now', { from: '2090-01-01T00:00:00Z' }, 'from'],
      ['times out of range', { from: '1999-12-31T00:00:00Z', to: '2000-01-02T00:00:00Z' }, 'from'],
      [
        '32 days by the hour',
        { granularity: 'hour', from: '2026-01-01T00:00:00Z', to: '2026-02-02T00:00:00Z' },
        'from',
      ],
      ['367 days by the day', { from: '2025-01-01T00:00:00Z', to: '2026-01-03T00:00:00Z' }, 'from'],
      [
        'four years by the month',
        { granularity: 'month', from: '2022-01-01T00:00:00Z', to: '2026-01-01T00:00:00Z' },
        'from',
      ],
    ])('refuses %s', async (_what, query, field) => {
      const { status, body } = await read('timeseries', await t.make.user(), query);
      expect(status).toBe(400);
      expect(body).toMatchObject({ code: 'validation_failed', errors: [{ field }] });
    });
  });

  describe('GET /auth/usage/logs', () => {
    it('shows the lines of the ledger, the latest first, page by page', async () => {
      const sameMoment = new Date('2026-04-01T00:00:00Z');
      const user = await userWith([
        ...Array.from({ length: 5 }, () => ({ createdAt: sameMoment })),
        at('2026-03-31T23:59:59.999Z', { operation: 'first' }),
        at('2026-04-02T00:00:00Z', { operation: 'last' }),
      ]);
      const shown: Record<string, unknown>[] = [];
      let cursor: string | null = null;
      do {
        const page: Answer = await read('logs', user, { limit: '2', ...(cursor && { cursor }) });
        shown.push(...(page.body.data as Record<string, unknown>[]));
        cursor = page.body.pagination.cursor as string | null;
        expect(page.body.pagination.has_more).toBe(cursor !== null);
      } while (cursor !== null);
      expect(shown.map(({ operation }) => operation)).toEqual([
        'last',
        ...Array<string>(5).fill('test'),
        'first',
      ]);
      expect(new Set(shown.map(({ id }) => id)).size).toBe(7);
    });

    it('shows of a call what was asked, what it cost exactly, and where it came from', async () => {
      const user = await t.make.user();
      const { key, id } = await t.make.apiKey({ userId: user.id });
      const call = await t.http.post('/generate', {
        key,
        body: { user_id: 'end-user-7', prompt: 'Hello, how are you?', provider: 'echo' },
        headers: { 'user-agent': 'my backend/1.0' },
      });
      expect((await read('logs', user)).body.data).toEqual([
        {
          id: call.body.request_id,
          created_at: expect.stringMatching(/Z$/) as string,
          api_key_id: id,
          operation: 'generate',
          provider: 'echo',
          model: 'echo',
          input_tokens: 6,
          output_tokens: 6,
          tokens_used: 12,
          cost_usd: '0.001200000',
          status_code: 200,
          end_user: 'end-user-7',
          ip_address: t.http.address,
          user_agent: 'my backend/1.0',
        },
      ]);
    });

    it('keeps to every filter', async () => {
      const apiKeyId = uuidv7();
      const wanted = { apiKeyId, operation: 'a', provider: 'b', model: 'c' };
      const user = await userWith([
        at('2026-04-02T00:00:00Z', wanted),
        at('2026-04-03T00:00:00Z', wanted),
        at('2026-04-01T23:59:59.999Z', wanted),
        ...['apiKeyId', 'provider', 'model'].map((name) =>
          at('2026-04-02T00:00:00Z', { ...wanted, [name]: null }),
        ),
        at('2026-04-02T00:00:00Z', { ...wanted, operation: 'other' }),
      ]);
      const filter = {
        from: '2026-04-02T00:00:00Z',
        to: '2026-04-03T00:00:00Z',
        api_key_id: apiKeyId.toUpperCase(),
        operation: 'a',
        provider: 'b',
        model: 'c',
      };
      expect((await read('logs', user, filter)).body.data).toHaveLength(1);
      expect((await read('logs', user)).body.data).toHaveLength(7);
      expect((await read('export', user, filter)).text.trimEnd().split('\r\n')).toHaveLength(2);
    });
  });

  describe('GET /auth/usage/export', () => {
    it('holds every line once, the oldest first, over any number of pages', async () => {
      const start = Date.parse('2026-01-30T00:00:00Z');
      // Four of each moment, over the end of a month, where a new part of the table begins.
      const user = await userWith(
        Array.from({ length: 1_203 }, (_, i) => ({
          createdAt: new Date(start + Math.floor(i / 4) * 10 * 60_000),
          inputTokens: i,
        })),
      );
      const { status, text, headers } = await read('export', user);
      expect(status).toBe(200);
      expect(headers.get('content-type')).toBe('text/csv; charset=utf-8');
      expect(headers.get('content-disposition')).toBe('attachment; filename="usage.csv"');
      const [names, ...lines] = text.trimEnd().split('\r\n');
      expect(names).toBe(
        'id,created_at,api_key_id,operation,provider,model,input_tokens,output_tokens,tokens_used,cost_usd,status_code,end_user,ip_address,user_agent',
      );
      expect(lines).toHaveLength(1_203);
      expect(new Set(lines.map((line) => line.split(',')[6])).size).toBe(1_203);
      const times = lines.map((line) => line.split(',')[1] ?? '');
      expect(times).toEqual([...times].sort());
    });

    it('says of each line what the list says of it', async () => {
      const user = await userWith([
        at('2026-01-01T00:00:00.007Z', { costUsd: '-0.500000000', model: null, apiKeyId: uuidv7() }),
        at('2026-01-01T00:00:01Z', { metadata: { path: '', method: '', end_user: 'one, "two"' } }),
      ]);
      const [, ...lines] = (await read('export', user)).text.trimEnd().split('\r\n');
      const { body } = await read('logs', user);
      const listed = (body.data as Record<string, string | number | null>[]).map((line) =>
        Object.values(line)
          .map((value) => `${value ?? ''}`)
          .map((text) => (/[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text))
          .join(),
      );
      expect(lines).toEqual(listed.reverse());
      expect(lines[0]).toContain(',-0.500000000,');
    });

    it('has its line of names when there is nothing to tell', async () => {
      const { text } = await read('export', await t.make.user());
      expect(text).toMatch(/^id,created_at,[a-z_,]+\r\n$/);
    });

    it('gives a spreadsheet no formula to run, and keeps quotes, commas and line breaks in their field', async () => {
      const hostile = [
        '=1+1',
        '+1',
        '-1+1',
        '@SUM(A1)',
        '\tx',
        '\rx',
        '\nx',
        '＝1+1',
        '=cmd|"/c calc"!A1',
        'a,"b"\r\nc',
        '-5',
      ];
      const user = await userWith(hostile.map((model, i) => at(`2026-01-01T00:00:${10 + i}Z`, { model })));
      const { text } = await read('export', user);
      const models = hostile.map((name) => (/^(-5|a)/.test(name) ? name : `'${name}`));
      for (const model of models)
        expect(text).toContain(/[",\r\n]/.test(model) ? `,"${model.replaceAll('"', '""')}",` : `,${model},`);
      expect(text).not.toMatch(/(^|[,\n])"?([=+@\t＝]|-\d+[^\d.,])/m);
    });

    it('breaks the connection when it cannot go on, so that half an export is never taken for a whole one', async () => {
      const user = await userWith([{}]);
      jest.spyOn(UsageLines.prototype, 'csv').mockImplementation(async function* () {
        yield await Promise.resolve('');
        throw new Error('the database is gone');
      });
      await expect(read('export', user)).rejects.toThrow();
      jest.restoreAllMocks();
      expect((await read('export', user)).status).toBe(200);
    });

    it('may be asked for ten times a minute', async () => {
      const user = await t.make.user();
      const answers = await Promise.all(Array.from({ length: 11 }, () => read('export', user)));
      expect(answers.map(({ status }) => status).sort()).toEqual([...Array<number>(10).fill(200), 429]);
    });
  });

  describe('GET /auth/usage/forecast', () => {
    /** Moves the time to noon of the 22nd of a month in the future, so no session began after it. */
    function moveToThe22nd(): Date {
      const now = t.clock.now();
      const noon = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 22, 12));
      t.clock.advance(noon.getTime() - now.getTime());
      return noon;
    }

    it('expects the rest of the month to be like the last seven days', async () => {
      const now = moveToThe22nd();
      const daysAgo = (days: number, costUsd: string): Partial<UsageLog> => ({
        createdAt: new Date(now.getTime() - days * DAY_MS),
        costUsd,
      });
      const user = await userWith([
        daysAgo(40, '5'),
        daysAgo(10, '100'),
        ...Array.from({ length: 7 }, (_, i) => daysAgo(i + 0.5, '1')),
      ]);
      const { body } = await read('forecast', user);
      const end = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1);
      const restDays = (end - now.getTime()) / DAY_MS;
      expect(body).toMatchObject({
        period_start: new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), 1)).toISOString(),
        period_end: new Date(end).toISOString(),
        requests: 8,
        total_tokens: 24,
        cost_usd: 107,
      });
      // The clock runs on while this is asked.
      expect(body.expected_cost_usd).toBeCloseTo(107 + restDays, 1);
      expect(body.expected_requests).toBe(Math.floor(8 + restDays - 0.001));
    });

    it('takes one day as the least to go by, and expects nothing of nothing', async () => {
      const now = moveToThe22nd();
      const user = await userWith([{ createdAt: new Date(now.getTime() - HOUR_MS), costUsd: '2' }]);
      const end = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1);
      const { body } = await read('forecast', user);
      expect(body.expected_cost_usd).toBeCloseTo(2 + (2 * (end - now.getTime())) / DAY_MS, 1);
      expect((await read('forecast', await t.make.user())).body).toMatchObject({
        requests: 0,
        cost_usd: 0,
        expected_requests: 0,
        expected_tokens: 0,
        expected_cost_usd: 0,
      });
    });
  });

  itAlone('inside')(
    'takes a third of the connections at most; who reads more is told to come back',
    async () => {
      const { primary } = t.app.get(ReadingDatabase, { strict: false });
      const query = primary.query.bind(primary);
      let open = (): void => undefined;
      const gate = new Promise<void>((resolve) => (open = resolve));
      let [atOnce, most] = [0, 0];
      jest.spyOn(primary, 'query').mockImplementation(async (...args) => {
        if (!/FROM usage_logs/.test(args[0])) return query(...args);
        most = Math.max(most, ++atOnce);
        await gate;
        atOnce -= 1;
        return query(...args);
      });
      const users = await Promise.all(Array.from({ length: 4 }, () => t.make.user()));
      const places = Math.floor(t.env.DATABASE_POOL_MAX / 3);
      const reads = Array.from({ length: places * 21 + 1 }, (_, i) =>
        read('logs', users[i % 4] ?? { token: '' }),
      );
      const refused = await Promise.race(reads);
      expect(refused.status).toBe(503);
      expect(refused.headers.get('retry-after')).toBe('2');
      open();
      const statuses = (await Promise.all(reads)).map(({ status }) => status);
      expect(statuses.filter((status) => status === 200)).toHaveLength(places * 21);
      expect(most).toBe(places);
    },
  );
});
