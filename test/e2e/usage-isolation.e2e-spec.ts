import fc from 'fast-check';
import { parse, v7 as uuidv7 } from 'uuid';
import { Ledger } from '../../src/usage/ledger';
import type { UsageLog } from '../../src/usage/usage-log.entity';
import type { Answer } from '../support/http';
import { hostileStrings } from '../support/route-values';
import { startTestApp, type TestApp } from '../support/test-app';
import { usageLine } from '../support/usage-lines';

const RUNS = Number(process.env['FUZZ_RUNS'] ?? 40);
const SEED = 20_261_122;
const START = Date.parse('2026-02-20T00:00:00Z');
const DAYS = 20;

interface Bucket extends Summed {
  readonly start: string;
  readonly groups: readonly Summed[];
}

interface Summed {
  readonly name: string | null;
  readonly requests: number;
  readonly total_tokens: number;
  readonly cost_usd: number;
}

/** Two users whose calls have all in common that calls can have, down to the ids of their keys. */
describe('T34: usage that is read with any filter, order and page', () => {
  let t: TestApp;
  let own: UsageLog[];
  let token: string;
  let foreign: UsageLog[];
  const keys = [uuidv7(), uuidv7(), null];

  beforeAll(async () => {
    t = await startTestApp();
    const [mine, other] = [
      await t.make.user({ tierOverride: 'internal' }),
      await t.make.user({ tierOverride: 'internal' }),
    ];
    token = mine.token;
    own = linesOf(mine.id, 60, 1);
    foreign = linesOf(other.id, 60, 2);
    await append([...own, ...foreign]);
  });
  afterAll(() => t.close());

  const append = (lines: readonly UsageLog[]): Promise<unknown> => {
    const ledger = t.app.get(Ledger, { strict: false });
    return Promise.all(lines.map((line) => ledger.append(line)));
  };

  function linesOf(userId: string, count: number, seed: number): UsageLog[] {
    const fields = fc.record({
      apiKeyId: fc.constantFrom(...keys),
      operation: fc.constantFrom('generate', 'embed', "' OR '1'='1"),
      provider: fc.constantFrom('openai', 'echo', '%', null),
      model: fc.constantFrom('a', '_', '$1', null),
      inputTokens: fc.nat(1_000),
      costUsd: fc.nat(1_000_000).map((nano) => (nano / 1e9).toFixed(9)),
      createdAt: fc.nat(DAYS * 24 * 4).map((quarter) => new Date(START + quarter * 900_000)),
    });
    return fc.sample(fields, { numRuns: count, seed }).map((line) => usageLine({ ...line, userId }));
  }

  const text = (...known: (string | null)[]): fc.Arbitrary<string> =>
    fc.oneof(
      { weight: 5, arbitrary: fc.constantFrom(...known.filter((name) => name !== null)) },
      { weight: 1, arbitrary: fc.constantFrom(...hostileStrings) },
    );
  const time = fc.nat(DAYS * 24).map((hour) => new Date(START + hour * 3_600_000).toISOString());
  const filters = fc.record(
    {
      api_key_id: fc.constantFrom(...keys.filter((key) => key !== null), uuidv7()),
      operation: text('generate', 'embed', "' OR '1'='1"),
      provider: text('openai', 'echo', '%'),
      model: text('a', '_', '$1'),
      from: time,
      to: time,
    },
    { requiredKeys: [] },
  );
  type Filter = { [name in 'api_key_id' | 'operation' | 'provider' | 'model' | 'from' | 'to']?: string };

  const fits = (line: UsageLog, filter: Filter): boolean =>
    (filter.api_key_id === undefined || line.apiKeyId === filter.api_key_id) &&
    (filter.operation === undefined || line.operation === filter.operation) &&
    (filter.provider === undefined || line.provider === filter.provider) &&
    (filter.model === undefined || line.model === filter.model) &&
    (filter.from === undefined || line.createdAt >= new Date(filter.from)) &&
    (filter.to === undefined || line.createdAt < new Date(filter.to));
  const byTime = (a: UsageLog, b: UsageLog): number =>
    a.createdAt.getTime() - b.createdAt.getTime() || (a.id < b.id ? -1 : 1);
  const ids = (rows: readonly { id: string }[]): string[] => rows.map(({ id }) => id);

  const get = (what: string, query: object): Promise<Answer> => {
    const given = new URLSearchParams(query as Record<string, string>);
    return t.http.from().get(`/auth/usage/${what}?${given.toString()}`, { bearer: token });
  };
  const check = <T extends [unknown, ...unknown[]]>(property: fc.IAsyncPropertyWithHooks<T>): Promise<void> =>
    fc.assert(property, { numRuns: RUNS, seed: SEED });

  it("lists one's own lines that fit, page by page, and no other's", async () => {
    await check(
      fc.asyncProperty(filters, fc.integer({ min: 1, max: 40 }), async (filter, limit) => {
        const expected = ids(
          own
            .filter((line) => fits(line, filter))
            .sort(byTime)
            .reverse(),
        );
        const first = await get('logs', { ...filter, limit });
        if (first.status === 400) return;
        expect(ids(first.body.data)).toEqual(expected.slice(0, limit));
        if (first.body.pagination.cursor === null) return;
        const second = await get('logs', { ...filter, limit, cursor: first.body.pagination.cursor });
        expect(ids(second.body.data)).toEqual(expected.slice(limit, 2 * limit));
      }),
    );
  });

  it("shows nothing behind another's line, and goes on behind any of one's own", async () => {
    const cursorOf = (id: string): string => Buffer.from(parse(id)).toString('base64url');
    for (const { id } of foreign.slice(0, 20))
      expect((await get('logs', { cursor: cursorOf(id) })).body.data).toEqual([]);
    const sorted = [...own].sort(byTime).reverse();
    for (const [i, { id }] of sorted.entries()) {
      const { body } = await get('logs', { cursor: cursorOf(id), limit: 5 });
      expect(ids(body.data)).toEqual(ids(sorted.slice(i + 1, i + 6)));
    }
  });

  it("exports one's own lines that fit, and no other's", async () => {
    await check(
      fc.asyncProperty(filters, async (filter) => {
        const { status, text: csv } = await get('export', filter);
        if (status !== 200) return;
        const lines = csv.trimEnd().split('\r\n').slice(1);
        expect(lines.map((line) => line.slice(0, 36))).toEqual(
          ids(own.filter((line) => fits(line, filter)).sort(byTime)),
        );
      }),
    );
  });

  it("sums one's own lines up, in any zone and grouping, also after another has used more", async () => {
    const zones = ['UTC', 'Europe/Berlin', 'Asia/Kolkata', 'America/St_Johns', 'Pacific/Auckland'];
    const queries = fc.record({
      filter: filters,
      granularity: fc.constantFrom('hour', 'day', 'month'),
      time_zone: fc.constantFrom(...zones),
      group_by: fc.constantFrom('key', 'operation', 'provider', 'model'),
    });
    const compare = (): Promise<void> =>
      check(
        fc.asyncProperty(queries, async ({ filter, ...shape }) => {
          const query = {
            ...filter,
            ...shape,
            to: filter.to ?? new Date(START + (DAYS + 1) * 86_400_000).toISOString(),
          };
          const { status, body } = await get('timeseries', query);
          if (status === 400) return;
          const buckets = body.data as Bucket[];
          const edges = [...buckets.map(({ start }) => start), body.to as string];
          for (const [i, bucket] of buckets.entries()) {
            const [from = '', to = ''] = [edges[i], edges[i + 1]];
            const inside = own.filter((line) => fits(line, { ...filter, from, to }));
            expect(sumOf(bucket)).toEqual(totalOf(inside));
            const column = {
              key: 'apiKeyId',
              operation: 'operation',
              provider: 'provider',
              model: 'model',
            } as const;
            const groups = Map.groupBy(inside, (line) => line[column[shape.group_by]]);
            const shown = new Map(bucket.groups.map((group) => [group.name, sumOf(group)]));
            expect(shown).toEqual(new Map([...groups].map(([name, lines]) => [name, totalOf(lines)])));
          }
        }),
      );
    await compare();
    const before = await get('stats', {});
    await append(linesOf(foreign[0]?.userId ?? '', 40, 3));
    expect((await get('stats', {})).body).toEqual(before.body);
    await compare();
  });

  const sumOf = (shown: Summed): unknown => ({
    requests: shown.requests,
    tokens: shown.total_tokens,
    nanoUsd: Math.round(shown.cost_usd * 1e9),
  });
  const totalOf = (lines: readonly UsageLog[]): unknown => ({
    requests: lines.length,
    tokens: lines.reduce((sum, line) => sum + line.tokensUsed, 0),
    nanoUsd: lines.reduce((sum, line) => sum + Math.round(Number(line.costUsd) * 1e9), 0),
  });
});
