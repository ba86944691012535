import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../src/platform/database/data-source-options';
import { withStatementLimit } from '../../src/platform/database/statement-limits';
import { copyDatabase } from '../support/database';

/** What PostgreSQL says last of a connection's start: ReadyForQuery, idle. */
const READY = Buffer.from('5a0000000549', 'hex');
const FATAL_FIELDS = 'SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0';
/** What it says of one that `pg_terminate_backend` ends: ErrorResponse. */
const FATAL = Buffer.concat([
  Buffer.from('E'),
  Buffer.from([0, 0, 0, FATAL_FIELDS.length + 4]),
  Buffer.from(FATAL_FIELDS),
]);

describe('a connection to the database', () => {
  let database: Awaited<ReturnType<typeof copyDatabase>>;
  let proxy: Server;
  let source: DataSource;
  let endsWhenReady = false;
  /** What a server that has stopped has not read yet. */
  let held: (() => void)[] | undefined;

  beforeAll(async () => {
    database = await copyDatabase();
    const { hostname, port } = new URL(database.url);
    proxy = createServer((client) => {
      const server = connect(Number(port), hostname);
      for (const socket of [client, server]) {
        socket.on('error', () => undefined);
        socket.on('close', () => {
          client.destroy();
          server.destroy();
        });
      }
      client.on('data', (chunk: Buffer) => {
        if (held) held.push(() => server.write(chunk));
        else server.write(chunk);
      });
      server.on('data', (chunk: Buffer) => {
        if (endsWhenReady && chunk.subarray(-READY.length).equals(READY))
          client.end(Buffer.concat([chunk, FATAL]));
        else client.write(chunk);
      });
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const url = Object.assign(new URL(database.url), {
      host: `127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    });
    source = await new DataSource(dataSourceOptions(url.href, 2)).initialize();
  });

  afterAll(async () => {
    await source.destroy();
    proxy.close();
    await database.drop();
  });

  it('that ends in the moment in which it is ready fails its statement, and not the process; the next one works', async () => {
    const taken = source.createQueryRunner();
    await taken.connect();
    endsWhenReady = true;
    await expect(source.query('SELECT 1')).rejects.toThrow();
    endsWhenReady = false;
    expect(await source.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await taken.release();
  });

  it('whose transaction was given up is handed to nobody: what is written afterwards is committed (M1)', async () => {
    await source.query('CREATE TABLE written (n int)');
    held = [];
    const write = (): Promise<unknown> =>
      source.transaction((tx) => tx.query('INSERT INTO written VALUES (1)'));
    await expect(withStatementLimit(200, write)).rejects.toThrow('Query read timeout');
    for (const send of held) send();
    held = undefined;

    for (let i = 0; i < 4; i++) await source.query('INSERT INTO written VALUES (2)');
    const other = await new DataSource(dataSourceOptions(database.url, 1)).initialize();
    expect(await other.query('SELECT DISTINCT n FROM written')).toEqual([{ n: 2 }]);
    expect(await other.query('SELECT count(*)::int AS count FROM written')).toEqual([{ count: 4 }]);
    await other.destroy();
  });

  it('gives up a statement after its own limit when the sender has none', async () => {
    const limited = await new DataSource(dataSourceOptions(database.url, 1, 200)).initialize();
    await expect(limited.query('SELECT pg_sleep(10)')).rejects.toThrow('Query read timeout');
    expect(await limited.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await limited.destroy();
  });
});
