import { setTimeout as sleep } from 'node:timers/promises';
import { createApiClient } from '@neondatabase/api-client';

/*
 * npm run neon:setup -- <name> [region]
 * Makes a project at Neon, or finds the one it made before, and prints the settings by which the service connects.
 * NEON_API_KEY: a key of the account or organization. NEON_ORG_ID: the organization, when the key is a person's.
 * NEON_API_URL: another address of Neon's API.
 */

const DATABASE = 'cortex';
const OWNER = 'cortex_owner';
const PAGE = 100;
const TIMEOUT_MS = 30_000;
/** Neon refuses (423) while it is still at work on a project, and says that one may ask again. */
const LOCKED_TRIES = 30;
const LOCKED_WAIT_MS = 1_000;

class SetupError extends Error {}

const [name, region] = process.argv.slice(2);
const { NEON_API_KEY, NEON_API_URL, NEON_ORG_ID } = process.env;

try {
  if (!name) throw new SetupError('How is the project called? For example: npm run neon:setup -- my-api');
  if (!NEON_API_KEY) throw new SetupError('Set NEON_API_KEY to an API key of Neon.');
  const neon = createApiClient({
    apiKey: NEON_API_KEY,
    baseURL: NEON_API_URL || undefined,
    timeout: TIMEOUT_MS,
  });
  const found = await findProject(neon);
  const { id } = found ?? (await makeProject(neon));
  const lines = [
    found ? `The project ${name} (${id}) is there already.` : `Made the project ${name} (${id}).`,
    'Settings of the service:',
    `DATABASE_URL=${await connectionUrl(neon, id, true)}`,
    `MIGRATION_DATABASE_URL=${await connectionUrl(neon, id, false)}`,
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
} catch (error) {
  process.stderr.write(`${explain(error)}\n`);
  process.exitCode = 1;
}

/** The oldest project of exactly this name; @throws SetupError when Neon cannot say whether there is one. */
async function findProject(neon) {
  const found = [];
  let cursor;
  let page;
  do {
    const query = { search: name, limit: PAGE, org_id: NEON_ORG_ID || undefined, cursor };
    ({ data: page } = await neon.listProjects(query));
    if (page.unavailable_project_ids?.length)
      throw new SetupError(
        'Neon does not list all projects at the moment, so this one may exist: try again later.',
      );
    found.push(...page.projects.filter((project) => project.name === name));
    cursor = page.pagination?.cursor;
  } while (page.projects.length === PAGE && cursor);
  return found.sort((a, b) => a.created_at.localeCompare(b.created_at))[0];
}

async function makeProject(neon) {
  const branch = { database_name: DATABASE, role_name: OWNER };
  const { data } = await neon.createProject({
    project: { name, branch, region_id: region, org_id: NEON_ORG_ID || undefined },
  });
  return data.project;
}

/** Of the owner of the tables; the certificate is checked, which `sslmode=require` alone does not promise. */
async function connectionUrl(neon, projectId, pooled) {
  const query = { projectId, database_name: DATABASE, role_name: OWNER, pooled };
  for (let tries = 1; ; tries++) {
    try {
      const { data } = await neon.getConnectionUri(query);
      const url = new URL(data.uri);
      url.searchParams.set('sslmode', 'verify-full');
      return url.toString();
    } catch (error) {
      if (error.response?.status === 404)
        throw new SetupError(`The project ${name} was not made by this command: choose another name.`);
      if (error.response?.status !== 423 || tries === LOCKED_TRIES) throw error;
      await sleep(LOCKED_WAIT_MS);
    }
  }
}

/** What went wrong; never the request, which holds the key. */
function explain(error) {
  if (error instanceof SetupError) return error.message;
  if (error.response)
    return `Neon answers ${error.response.status}: ${error.response.data?.message ?? 'no reason given'}`;
  return `Neon is not reached: ${error.code ?? error.message}`;
}
