import type { EntityManager } from 'typeorm';
import { changeAtOnce, sql, type Sql } from '../../src/platform/database/one-statement';
import { startTestApp, type TestApp } from '../support/test-app';

describe('changes in one statement', () => {
  let t: TestApp;
  let db: EntityManager;
  beforeAll(async () => {
    t = await startTestApp();
    db = t.db;
    await db.query('CREATE TABLE doors (name text PRIMARY KEY, is_open boolean NOT NULL)');
    await db.query('CREATE TABLE visits (door text NOT NULL, at timestamptz, guest uuid)');
  });
  afterAll(() => t.close());
  beforeEach(async () => {
    await db.query('TRUNCATE doors, visits');
    await db.query(`INSERT INTO doors VALUES ('front', true), ('back', false)`);
  });

  const ifOpen = (door: string): Sql =>
    sql`UPDATE doors SET is_open = false WHERE name = ${door} AND is_open RETURNING 1`;
  const visit = (door: string): Sql => sql`
    INSERT INTO visits (door, at, guest) SELECT ${door}, ${new Date(0)}, ${null} WHERE EXISTS (SELECT FROM condition)`;
  const visits = (): Promise<unknown> => db.query('SELECT door, at, guest FROM visits ORDER BY door');

  it('are all made when the condition finds a row', async () => {
    expect(await changeAtOnce(db, ifOpen('front'), [visit('front'), visit(`hall'); --`)])).toBe(true);
    expect(await visits()).toEqual([
      { door: 'front', at: new Date(0), guest: null },
      { door: `hall'); --`, at: new Date(0), guest: null },
    ]);
  });

  it('are none of them made when it finds none', async () => {
    expect(await changeAtOnce(db, ifOpen('back'), [visit('back'), visit('hall')])).toBe(false);
    expect(await visits()).toEqual([]);
  });

  it('are made once of twenty at once, for the condition has the lock first', async () => {
    const made = await Promise.all(
      Array.from({ length: 20 }, () => changeAtOnce(db, ifOpen('front'), [visit('front')])),
    );
    expect(made.filter(Boolean)).toHaveLength(1);
    expect(await visits()).toHaveLength(1);
  });

  it('are taken back with the transaction they are made in', async () => {
    const undone = db.transaction(async (tx) => {
      expect(await changeAtOnce(tx, ifOpen('front'), [visit('front')])).toBe(true);
      throw new Error('undone');
    });
    await expect(undone).rejects.toThrow('undone');
    expect(await visits()).toEqual([]);
    expect(await changeAtOnce(db, ifOpen('front'), [visit('front')])).toBe(true);
  });

  it('are refused when one would be made whatever the condition finds', async () => {
    const unbound = sql`INSERT INTO visits (door) VALUES (${'front'})`;
    await expect(changeAtOnce(db, ifOpen('back'), [visit('back'), unbound])).rejects.toThrow(
      'bound to nothing',
    );
    expect(await visits()).toEqual([]);
  });
});
