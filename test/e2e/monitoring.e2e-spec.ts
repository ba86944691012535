import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startTestApp, type TestApp } from '../support/test-app';

const folder = join(__dirname, '..', '..', 'monitoring');
const read = (name: string): string => readFileSync(join(folder, name), 'utf8');

const FUNCTIONS = /\b(sum|max|rate|increase|histogram_quantile|by|le)\b/g;

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
});
