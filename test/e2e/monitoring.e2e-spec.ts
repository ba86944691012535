import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTestApp, type TestApp } from '../support/test-app';

const folder = join(__dirname, '..', '..', 'monitoring');
const read = (name: string): string => readFileSync(join(folder, name), 'utf8');

const FUNCTIONS = /\b(sum|max|rate|increase|histogram_quantile|by|le|or)\b/g;

/** The names of metrics in a PromQL expression. */
function namesIn(expr: string): string[] {
  const bare = expr
    .replace(/\{[^}]*\}|\[[^\]]*\]|"[^"]*"/g, ' ')
    .replace(/\bby \([^)]*\)/g, ' ')
    .replace(FUNCTIONS, ' ');
  return bare.match(/\b[a-z][a-z0-9_]+/g) ?? [];
}

function alertExpressions(): string[] {
  return [...read('alerts.yml').matchAll(/^ {8}expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)/gm)].map(
    ([, block, line]) => block ?? line ?? '',
  );
}

function dashboardExpressions(): string[] {
  const { panels } = JSON.parse(read('grafana/dashboard.json')) as {
    panels: { targets?: { expr: string }[] }[];
  };
  return panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
}

const hasPromtool = spawnSync('promtool', ['--version']).status === 0;
if (!hasPromtool) process.stderr.write('Skipped: the rules by promtool, which is not installed.\n');

describe('monitoring/', () => {
  let t: TestApp;
  beforeAll(async () => {
    // One that is away has its metric, too.
    t = await startTestApp({ settings: { DATABASE_REPLICA_URL: 'postgres://127.0.0.1:1/none' } });
  });
  afterAll(() => t.close());

  it('names only metrics that the service has', async () => {
    await fetch(`${t.url}/health`);
    const text = await (await fetch(`${t.url}/metrics`)).text();
    const exist = new Set(['up', ...text.split('\n').map((line) => line.split(/[ {]/)[0] ?? '')]);

    const expressions = [...alertExpressions(), ...dashboardExpressions()];
    const named = new Set(expressions.flatMap(namesIn));
    expect(alertExpressions()).toHaveLength(read('alerts.yml').split('- alert:').length - 1);
    expect(named.size).toBeGreaterThan(15);
    expect([...named].filter((name) => !exist.has(name))).toEqual([]);
  });

  (hasPromtool ? it : it.skip)('has rules and a configuration that promtool takes', () => {
    const rules = spawnSync('promtool', ['check', 'rules', join(folder, 'alerts.yml')], { encoding: 'utf8' });
    expect([rules.status, rules.stderr]).toEqual([0, '']);
    const config = spawnSync(
      'promtool',
      ['check', 'config', '--syntax-only', join(folder, 'prometheus.yml')],
      {
        encoding: 'utf8',
      },
    );
    expect([config.status, config.stderr]).toEqual([0, '']);
  });

  (hasPromtool ? it : it.skip)('alarms about errors of the service, and not about what is not set up', () => {
    const series = (endpoint: string, status: number): object => ({
      series: `api_requests_total{endpoint="/api/v1/${endpoint}",method="POST",status="${status}"}`,
      values: '0+60x15',
    });
    const firing = (input: object[], isFiring: boolean): object => ({
      interval: '1m',
      input_series: [series('auth/login', 200), ...input],
      promql_expr_test: [
        {
          expr: 'count(ALERTS{alertname="ServerErrors", alertstate="firing"})',
          eval_time: '15m',
          exp_samples: isFiring ? [{ labels: '{}', value: 1 }] : [],
        },
      ],
    });
    const tests = [
      firing(
        [series('generate', 501), series('auth/billing/checkout', 503), series('webhooks/polar', 503)],
        false,
      ),
      firing([series('generate', 503)], true),
      firing([series('auth/billing/checkout', 500)], true),
    ];
    const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-rules-'));
    try {
      const file = join(directory, 'rules.json');
      writeFileSync(
        file,
        JSON.stringify({ rule_files: [join(folder, 'alerts.yml')], evaluation_interval: '1m', tests }),
      );
      const { status, stdout, stderr } = spawnSync('promtool', ['test', 'rules', file], { encoding: 'utf8' });
      expect({ status, said: stdout + stderr }).toMatchObject({ status: 0 });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
