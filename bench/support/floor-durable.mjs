/*
 * Floor B: bare Fastify that takes the same POST, hashes the key and answers after its row is committed. Requests
 * that come while one commit is on its way share the next: one statement, one flight at a time, as in the ledger.
 */
import { createHash, randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import Fastify from 'fastify';
import { Client } from 'pg';
import { ready } from './probe.mjs';

const BATCH_MAX = 500;
const [databaseUrl] = process.argv.slice(2);

const INSERT = {
  name: 'append',
  text: `INSERT INTO floor_logs (id, key_hash, end_user, tokens_used, created_at)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::timestamptz[])`,
};

const client = new Client({ connectionString: databaseUrl });
await client.connect();
await client.query(`CREATE TABLE IF NOT EXISTS floor_logs (id uuid PRIMARY KEY, key_hash text NOT NULL,
  end_user text NOT NULL, tokens_used integer NOT NULL, created_at timestamptz NOT NULL)`);
await client.query('SET synchronous_commit = on');

let queue = [];
let writing;

const fastify = Fastify();
fastify.post('/api/v1/generate', async ({ headers, body }) => {
  const keyHash = createHash('sha256').update(headers['x-api-key']).digest('hex');
  const row = {
    id: randomUUID(),
    keyHash,
    endUser: body.user_id,
    tokens: body.prompt.length,
    at: new Date(),
  };
  await append(row);
  return {
    request_id: row.id,
    text: body.prompt,
    provider: body.provider,
    usage: { total_tokens: row.tokens },
  };
});
ready(await fastify.listen({ port: 0, host: '127.0.0.1' }));

function append(row) {
  const committed = new Promise((resolve, reject) => queue.push({ row, resolve, reject }));
  writing ??= writeAll();
  return committed;
}

async function writeAll() {
  await setImmediate();
  while (queue.length > 0) {
    const batch = queue.splice(0, BATCH_MAX);
    const column = (name) => batch.map(({ row }) => row[name]);
    try {
      await client.query({
        ...INSERT,
        values: [column('id'), column('keyHash'), column('endUser'), column('tokens'), column('at')],
      });
      for (const { resolve } of batch) resolve();
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
  writing = undefined;
}
