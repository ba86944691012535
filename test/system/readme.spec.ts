import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { killProcessesOf, NpmService, root, run } from './support/npm-service';
import { buildService } from './support/service-process';

const START_BLOCK = 'npm ci && npm start';
const TEST_BLOCK = 'npm ci && npm test';
const BASE_LINE = 'BASE=http://127.0.0.1:8000';
const LIMIT_MS = 120_000;

const readme = readFileSync(join(root, 'README.md'), 'utf8');
const blocks = fencedBlocks('sh');
const shownAnswers = fencedBlocks('json').map((text) => JSON.parse(text) as Record<string, unknown>);

const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-readme-'));
/** Every curl call of the blocks fails on an answer of 400 and above, which by itself it does not. */
const hasCurl = spawnSync('curl', ['--version']).status === 0;
if (!hasCurl) process.stderr.write('Skipped: the README with its curl calls, for there is no curl here.\n');

beforeAll(() => {
  buildService();
}, LIMIT_MS);

afterAll(async () => {
  await NpmService.endAll();
  if (process.platform === 'linux') killProcessesOf(directory);
  rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
});

describe('the shell blocks of the README', () => {
  it('begin with the two commands', () => {
    // What the second one runs is this very suite: here it only has to be there.
    expect(blocks.slice(0, 2)).toEqual([START_BLOCK, TEST_BLOCK]);
    expect(blocks.filter((block) => /npm (ci|start|test)/.test(block))).toHaveLength(2);
    expect(blocks.filter((block) => block.split('\n').includes(BASE_LINE))).toHaveLength(1);
  });

  (hasCurl ? it : it.skip)(
    'work as pasted, in order, up to the usage of the one call',
    async () => {
      const data = { DATA_DIR: join(directory, 'data') };
      const service = await NpmService.start(data);
      writeFileSync(join(directory, '.curlrc'), 'fail-with-body\n');
      const pasted = blocks.slice(2).map((block) => block.replace(BASE_LINE, `BASE=${service.url}`));
      const marked = pasted.map((block, i) => `${block}\necho; echo "end of block ${i}"`).join('\n');

      const session = await run(['bash', '-eu', '-o', 'pipefail', '-c', marked], {
        ...data,
        CURL_HOME: directory,
      });

      const { code, stdout, stderr } = session;
      expect({ code, stderr, stdout }).toMatchObject({ code: 0 });
      const outputs = stdout.split(/\nend of block \d+\n/).slice(0, -1);
      expect(outputs).toHaveLength(pasted.length);
      expect(outputs[1]).toContain('"email":"user@example.com"');
      expect(outputs[2]).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/m);
      expect(outputs[3]).toMatch(/^ctx_live_[0-9A-Za-z]{36}$/m);
      expect(outputs[5]).toContain('"message":"Email verified successfully"');
      expect(outputs[6]).toContain('tier of user@example.com is now starter');
      expectAnswer(outputs[4], shownAnswers[0], ['request_id']);
      // The calls may have been made just before midnight.
      expectAnswer(outputs[7], shownAnswers[1], ['requests_today', 'tokens_today', 'cost_today_usd']);
      expect(shownAnswers[1]).toMatchObject({ total_requests: 1, total_cost_usd: 0.0012 });
      expect(await service.interrupt()).toMatchObject({ code: 0 });
    },
    LIMIT_MS,
  );
});

/** The answer is the one that the README shows, but for the named fields, which it has too. */
function expectAnswer(output = '', shown: Record<string, unknown> = {}, varying: string[]): void {
  const answer = JSON.parse(output) as Record<string, unknown>;
  const same = Object.fromEntries(varying.map((name) => [name, expect.anything() as unknown]));
  expect(answer).toEqual({ ...shown, ...same });
}

function fencedBlocks(language: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)\n\`\`\`$`, 'gms'))].map(
    ([, block = '']) => block,
  );
}
