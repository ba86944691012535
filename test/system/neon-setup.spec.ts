import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

const script = join(__dirname, '..', '..', 'scripts', 'neon-setup.mjs');
const KEY = 'neon-key-of-the-test';
const SECRETS = { NEON_API_KEY: KEY };

interface Project {
  id: string;
  name: string;
  created_at: string;
  branch?: { database_name: string; role_name: string };
}

/** What Neon's API answers, by its published description, as far as the command asks. */
class FakeNeon {
  readonly projects: Project[] = [];
  /** Ids that the list says it could not read. */
  unavailable: string[] = [];
  /** How often a connection is still refused, for the project is being made. */
  locked = 0;
  readonly server = createServer((request, response) => {
    void this.answer(request).then(([status, body]) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
  }).listen(0, '127.0.0.1');

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/api/v2`;
  }

  add(name: string, created_at: string, branch?: Project['branch']): Project {
    const project = {
      id: `project-${this.projects.length + 1}`,
      name,
      created_at,
      ...(branch && { branch }),
    };
    this.projects.push(project);
    return project;
  }

  private async answer(request: IncomingMessage): Promise<[number, object]> {
    const { pathname, searchParams: query } = new URL(request.url ?? '', this.url);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (request.headers.authorization !== `Bearer ${KEY}`) return [401, { message: 'authorization failed' }];
    const what = `${request.method} ${pathname.replace('/api/v2', '')}`;
    if (what === 'GET /projects') return [200, this.list(query)];
    if (what === 'POST /projects') {
      const { project } = JSON.parse(Buffer.concat(chunks).toString()) as { project: Required<Project> };
      return [201, { project: this.add(project.name, '2026-11-22T00:00:00Z', project.branch) }];
    }
    const project = this.projects.find(({ id }) => what === `GET /projects/${id}/connection_uri`);
    if (!project) return [404, { message: 'not found' }];
    if (this.locked-- > 0) return [423, { message: 'project already has running operations' }];
    const { database_name, role_name } = project.branch ?? {};
    if (query.get('database_name') !== database_name || query.get('role_name') !== role_name)
      return [404, { message: 'database not found' }];
    const host = `ep-${project.id}${query.get('pooled') === 'true' ? '-pooler' : ''}.eu-central-1.aws.neon.tech`;
    return [200, { uri: `postgresql://${role_name}:pw@${host}/${database_name}?sslmode=require` }];
  }

  private list(query: URLSearchParams): object {
    const fitting = this.projects.filter(({ name }) => name.includes(query.get('search') ?? ''));
    const from = Number(query.get('cursor') ?? 0);
    const to = from + Number(query.get('limit'));
    return {
      projects: fitting.slice(from, to),
      pagination: { cursor: String(to) },
      unavailable_project_ids: this.unavailable,
    };
  }
}

describe('npm run neon:setup', () => {
  let neon: FakeNeon;
  beforeEach(async () => {
    neon = new FakeNeon();
    await once(neon.server, 'listening');
  });
  afterEach(() => neon.server.close());

  async function setUp(
    args: string[],
    env: Record<string, string> = SECRETS,
  ): Promise<{ code: unknown; said: string }> {
    const child = spawn(process.execPath, [script, ...args], { env: { NEON_API_URL: neon.url, ...env } });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const [code] = (await once(child, 'close')) as unknown[];
    return { code, said };
  }

  it('makes a project and prints its pooled and its direct address; again, it prints the same and makes none', async () => {
    neon.locked = 1;
    const urls = [
      'Settings of the service:',
      'DATABASE_URL=postgresql://cortex_owner:pw@ep-project-1-pooler.eu-central-1.aws.neon.tech/cortex?sslmode=verify-full',
      'MIGRATION_DATABASE_URL=postgresql://cortex_owner:pw@ep-project-1.eu-central-1.aws.neon.tech/cortex?sslmode=verify-full',
      '',
    ].join('\n');
    expect(await setUp(['my-api'])).toEqual({
      code: 0,
      said: `Made the project my-api (project-1).\n${urls}`,
    });
    expect(await setUp(['my-api'])).toEqual({
      code: 0,
      said: `The project my-api (project-1) is there already.\n${urls}`,
    });
    expect(neon.projects).toHaveLength(1);
  });

  it('looks through every page for exactly its name, and takes the oldest', async () => {
    const branch = { database_name: 'cortex', role_name: 'cortex_owner' };
    for (let i = 0; i < 150; i++) neon.add(`my-api-${i}`, '2026-01-01T00:00:00Z');
    neon.add('my-api', '2026-03-01T00:00:00Z', branch);
    const { id } = neon.add('my-api', '2026-02-01T00:00:00Z', branch);
    expect((await setUp(['my-api'])).said).toContain(`The project my-api (${id}) is there already.`);
    expect(neon.projects).toHaveLength(152);
  });

  it('makes none when Neon cannot say whether there is one', async () => {
    neon.unavailable = ['project-9'];
    expect(await setUp(['my-api'])).toMatchObject({
      code: 1,
      said: expect.stringContaining('try again later'),
    });
    expect(neon.projects).toEqual([]);
  });

  it('says what is missing or refused, and never the key', async () => {
    expect(await setUp([])).toMatchObject({ code: 1, said: expect.stringContaining('neon:setup -- my-api') });
    expect(await setUp(['my-api'], {})).toEqual({
      code: 1,
      said: 'Set NEON_API_KEY to an API key of Neon.\n',
    });
    const refused = await setUp(['my-api'], { NEON_API_KEY: 'wrong-key-of-the-test' });
    expect(refused).toEqual({ code: 1, said: 'Neon answers 401: authorization failed\n' });
    neon.add('my-api', '2026-02-01T00:00:00Z');
    expect(await setUp(['my-api'])).toMatchObject({
      code: 1,
      said: expect.stringContaining('choose another name'),
    });
    const nobody = { ...SECRETS, NEON_API_URL: 'http://127.0.0.1:1' };
    expect(await setUp(['my-api'], nobody)).toEqual({ code: 1, said: 'Neon is not reached: ECONNREFUSED\n' });
  });
});
