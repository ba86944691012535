import type { EntityManager } from 'typeorm';
import { Audit } from '../../src/platform/audit/audit';
import { AuditEvent } from '../../src/platform/audit/audit-event.entity';
import { AuditSealer } from '../../src/platform/audit/audit-sealer';
import { type AuditFindings, verifyAudit } from '../../src/platform/audit/audit-verifier';
import { Derivation } from '../../src/platform/crypto/derivation';
import { startTestApp, type TestApp } from '../support/test-app';

const EVENTS = 10;

/** Every attack is made by somebody who may do everything in the database, triggers included, but has not SECRET_KEY. */
describe('verification of the audit log', () => {
  let t: TestApp;
  let derivation: Derivation;
  let sealer: AuditSealer;
  /** In the order of the chain. */
  let events: AuditEvent[];
  let userId: string;

  beforeAll(async () => {
    t = await startTestApp();
    derivation = t.app.get(Derivation, { strict: false });
    sealer = t.app.get(AuditSealer, { strict: false });
    const user = await t.make.user({ tierOverride: 'internal' });
    userId = user.id;
    for (let i = 0; i < EVENTS; i++) {
      await t.http.post('/auth/api-keys', { bearer: user.token, body: { name: `key ${i}` } });
      // The last ones get their places together.
      if (i < EVENTS - 4) await sealer.seal();
    }
    await sealer.seal();
    events = await t.db.find(AuditEvent, { order: { position: 'ASC' } });
  });
  afterAll(() => t.close());

  /** Does the work in a transaction of somebody who may do everything, and takes it back. */
  async function pretend<Result>(work: (tx: EntityManager) => Promise<Result>): Promise<Result> {
    const runner = t.db.dataSource.createQueryRunner();
    await runner.startTransaction();
    try {
      // Turns triggers off, those of foreign keys too.
      await runner.manager.query('SET LOCAL session_replication_role = replica');
      return await work(runner.manager);
    } finally {
      await runner.rollbackTransaction();
      await runner.release();
    }
  }

  /** What is found after the steps. */
  const after = (
    ...steps: readonly (string | ((tx: EntityManager) => Promise<unknown>))[]
  ): Promise<AuditFindings> =>
    pretend(async (tx) => {
      for (const step of steps) await (typeof step === 'string' ? tx.query(step) : step(tx));
      return verifyAudit(tx, derivation);
    });

  /** Seals as the service does, within the attack. */
  const sealAgain = (tx: EntityManager): Promise<void> =>
    new AuditSealer(tx, derivation, { info: () => undefined, error: () => undefined } as never).seal();
  const eventAt = (position: number): string =>
    `Event ${events[position - 1]?.id ?? ''} (position ${position})`;
  const CHANGED = 'was changed, or was not written by this service.';
  const MOVED = 'does not follow the event before it: one of the two was taken out, put in or moved.';

  it('finds nothing in an untouched log', async () => {
    expect(await after()).toMatchObject({
      problems: [],
      problemsCount: 0,
      eventsCount: EVENTS,
      unsealedCount: 0,
      erasedCount: 0,
    });
  });

  it('finds nothing in an empty log', async () => {
    const empty = await startTestApp();
    const findings = await verifyAudit(empty.db, derivation);
    expect(findings).toMatchObject({ problems: [], eventsCount: 0, head: '0:' });
    await empty.close();
  });

  it('finds a change of any column of any table, and names the event', async () => {
    const columns = await t.db.query<{ table: string; name: string; type: string }[]>(
      `SELECT table_name AS table, column_name AS name, data_type AS type FROM information_schema.columns
       WHERE table_schema = 'public' AND table_name LIKE 'audit%' ORDER BY 1, 2`,
    );
    const others: Record<string, string> = {
      text: `coalesce(%, '') || 'x'`,
      uuid: 'gen_random_uuid()',
      bigint: '% + 1000',
      jsonb: `% || '{"x": null}'`,
      bytea: `coalesce(nullif(set_byte(%, 0, get_byte(%, 0) # 1), %), 'x')`,
      'timestamp with time zone': `% + interval '1 millisecond'`,
    };
    expect(columns.length).toBeGreaterThan(20);
    for (const { table, name, type } of columns) {
      const row: Record<string, string> = {
        audit_events: `WHERE position = 4`,
        audit_details: `WHERE event_id = '${events[3]?.id ?? ''}'`,
      };
      const where = row[table] ?? '';
      const value = others[type]?.replaceAll('%', name) ?? '';
      const { problems } = await after(`UPDATE ${table} SET ${name} = ${value} ${where}`);
      // Without its event, a personal part counts as erased.
      const isErasure = table === 'audit_details' && name === 'event_id';
      expect({ table, name, isFound: problems.length > 0 }).toEqual({ table, name, isFound: !isErasure });
    }
  });

  it('names the event that was changed, and no other', async () => {
    const { problems } = await after(`UPDATE audit_events SET action = 'user.login' WHERE position = 4`);
    expect(problems).toEqual([`${eventAt(4)} ${CHANGED}`]);
  });

  it('names the event whose personal part was changed', async () => {
    const { problems } = await after(
      `UPDATE audit_details SET ip = '203.0.113.1' WHERE event_id = '${events[3]?.id ?? ''}'`,
    );
    expect(problems).toEqual([`${eventAt(4)} has another personal part than it had.`]);
  });

  it('names the positions of events that were deleted', async () => {
    const { problems } = await after('DELETE FROM audit_events WHERE position IN (3, 5, 6)');
    expect(problems).toEqual([
      'The event at position 3 is missing.',
      'The events at positions 5 to 6 are missing.',
    ]);
  });

  it('finds a deleted event whose followers were moved up', async () => {
    const { problems } = await after(
      'DELETE FROM audit_events WHERE position = 5',
      'UPDATE audit_events SET position = position - 1000 WHERE position > 5',
      'UPDATE audit_events SET position = position + 999 WHERE position < 0',
    );
    expect(problems[0]).toBe(`Event ${events[5]?.id ?? ''} (position 5) ${MOVED}`);
  });

  it('finds two events that were swapped, with or without their links', async () => {
    const swap = (columns: string): string =>
      `UPDATE audit_events a SET ${columns} FROM (SELECT position, link FROM audit_events) b
       WHERE a.position IN (3, 4) AND b.position = 7 - a.position`;
    for (const columns of ['position = b.position', 'position = b.position, link = b.link']) {
      const { problems } = await after(
        'ALTER TABLE audit_events DROP CONSTRAINT "UQ_ad96e3667423271c93fc9bc8d57"',
        swap(columns),
      );
      expect(problems[0]).toBe(`Event ${events[3]?.id ?? ''} (position 3) ${MOVED}`);
    }
  });

  it('finds events that were deleted at the end', async () => {
    const { problems } = await after('DELETE FROM audit_events WHERE position > 7');
    expect(problems).toEqual(['The events at positions 8 to 10 are missing.']);
  });

  it('finds them also when the head was set back', async () => {
    const { problems } = await after(
      'DELETE FROM audit_events WHERE position > 7',
      'UPDATE audit_head SET (position, link) = (SELECT position, link FROM audit_events WHERE position = 7)',
    );
    expect(problems).toEqual(['audit_head was changed.']);
  });

  it('finds that everything was deleted, and that the head was', async () => {
    expect((await after('DELETE FROM audit_events')).problems).toEqual([
      'The events at positions 1 to 10 are missing.',
    ]);
    expect((await after('DELETE FROM audit_head')).problems).toEqual([
      'audit_head has 0 rows instead of one.',
    ]);
    const second = `INSERT INTO audit_head SELECT 11, link, mac FROM audit_head`;
    expect((await after(second)).problems).toContain('audit_head has 2 rows instead of one.');
  });

  describe('of an event that was put in', () => {
    const copy = (position: string): string =>
      `INSERT INTO audit_events
       SELECT gen_random_uuid(), occurred_at, action, actor, subject_id, target_id, result, request_id, details_digest,
              seen_position, seen_link, mac, ${position}
       FROM audit_events WHERE position = 4`;

    it('finds it at the end of the chain', async () => {
      const { problems } = await after(copy('11, link'));
      expect(problems[0]).toMatch(/position 11\) does not follow/);
      expect(problems).toContain('audit_head does not name the last event of the chain.');
    });

    it('finds it in the middle', async () => {
      const { problems } = await after(
        'UPDATE audit_events SET position = position + 1000 WHERE position > 4',
        copy('5, link'),
        'UPDATE audit_events SET position = position - 999 WHERE position > 1000',
      );
      expect(problems[0]).toMatch(/position 5\) does not follow/);
    });

    it('finds it unsealed, and the service does not seal it', async () => {
      const { problems } = await after(copy('NULL, NULL'));
      expect(problems).toEqual([expect.stringMatching(/\(not sealed yet\) was changed, or was not written/)]);
      await expect(after(copy('NULL, NULL'), sealAgain)).rejects.toThrow('Somebody has made up or changed');
    });
  });

  describe('of a chain that the service was made to seal anew', () => {
    const RESET = `UPDATE audit_head SET position = 0, link = '', mac = ''`;
    const UNSEAL = 'UPDATE audit_events SET position = NULL, link = NULL';

    it('finds that an event is gone, by the end that later ones saw', async () => {
      const { problems } = await after(
        'DELETE FROM audit_events WHERE position = 5',
        RESET,
        UNSEAL,
        'CREATE TEMP TABLE held ON COMMIT DROP AS SELECT * FROM audit_events',
        'DELETE FROM audit_events',
        sealHeld,
      );
      expect(problems.length).toBeGreaterThanOrEqual(4);
      for (const problem of problems)
        expect(problem).toMatch(/was recorded when another event stood at position \d+\.$/);
    });

    /** Gives the service each event only when it has seen no later end than there is, and something new where one lacks. */
    const sealHeld = async (tx: EntityManager): Promise<void> => {
      const fitting = 'seen_position <= (SELECT position FROM audit_head)';
      const isHeld = async (condition: string): Promise<boolean> =>
        (await tx.query<unknown[]>(['SELECT 1 FROM held WHERE', condition].join(' '))).length > 0;
      while (await isHeld('true')) {
        if (!(await isHeld(fitting))) await record(tx);
        await tx.query(`INSERT INTO audit_events SELECT * FROM held WHERE ${fitting}`);
        await tx.query(`DELETE FROM held WHERE ${fitting}`);
        await sealAgain(tx);
      }
    };

    it('does not get so far when what they saw is hidden from it', async () => {
      const hidden = 'UPDATE audit_events SET seen_position = 0';
      await expect(
        after('DELETE FROM audit_events WHERE position > 7', RESET, UNSEAL, hidden, sealAgain),
      ).rejects.toThrow('Somebody has made up or changed the audit event');
    });

    it('does not get so far when the log was taken back to an earlier state', async () => {
      await expect(
        after('DELETE FROM audit_events WHERE position > 7', RESET, UNSEAL, sealAgain),
      ).rejects.toThrow('Somebody has taken the audit log back to an earlier state.');
    });

    it('does not get so far when the head was changed', async () => {
      await expect(after('UPDATE audit_head SET position = 9', record, sealAgain)).rejects.toThrow(
        'Somebody has tampered with audit_head.',
      );
    });
  });

  const record = (tx: EntityManager): Promise<void> =>
    t.app
      .get(Audit, { strict: false })
      .record({ action: 'user.login', by: { id: userId, origin: null }, subjectId: userId }, tx);

  it('finds a log that was taken back as a whole only by a head that was noted', async () => {
    await pretend(async (tx) => {
      await tx.query('CREATE TEMP TABLE old_head ON COMMIT DROP AS SELECT * FROM audit_head');
      await record(tx);
      await sealAgain(tx);
      const { head } = await verifyAudit(tx, derivation);
      expect((await verifyAudit(tx, derivation, head)).problems).toEqual([]);

      await tx.query('DELETE FROM audit_events WHERE position > $1', [EVENTS]);
      await tx.query('DELETE FROM audit_head');
      await tx.query('INSERT INTO audit_head SELECT * FROM old_head');
      expect((await verifyAudit(tx, derivation)).problems).toEqual([]);
      expect((await verifyAudit(tx, derivation, head)).problems).toEqual([
        `The head ${head} is not in the chain any more.`,
      ]);
    });
  });

  it('stays good when the personal part is erased, and counts what was', async () => {
    const origin = { requestId: 'r', ip: '203.0.113.9', userAgent: 'a program' };
    const findings = await after(
      (tx) =>
        t.app
          .get(Audit, { strict: false })
          .record({ action: 'user.login', by: { id: userId, origin }, subjectId: null }, tx),
      (tx) => t.app.get(Audit, { strict: false }).erasePersonal(userId, tx),
      async (tx) => {
        const [left] = await tx.query<{ rows: string }[]>('SELECT count(*) AS rows FROM audit_details');
        expect(left?.rows).toBe('0');
      },
    );
    expect(findings).toMatchObject({ problems: [], eventsCount: EVENTS + 1, erasedCount: EVENTS + 1 });
  });

  it('finds a personal part that was made up for an erased one', async () => {
    const id = events[3]?.id ?? '';
    const { problems } = await after(
      `DELETE FROM audit_details WHERE event_id = '${id}'`,
      `INSERT INTO audit_details SELECT '${id}', ip, user_agent, details, salt FROM audit_details LIMIT 1`,
    );
    expect(problems).toEqual([`${eventAt(4)} has another personal part than it had.`]);
  });

  it('believes nothing that was signed with another key, and lists at most a hundred faults', async () => {
    const other = new Derivation({ ...t.env, SECRET_KEY: 'another' });
    const findings = await verifyAudit(t.db, other);
    expect(findings.problemsCount).toBe(EVENTS + 1);
    const many = await after((tx) =>
      tx.query(`INSERT INTO audit_events
        SELECT gen_random_uuid(), now(), 'x', null, null, null, 'success', null, '', 0, '', '' FROM generate_series(1, 1100)`),
    );
    expect(many.problemsCount).toBe(1_100);
    expect(many.problems).toHaveLength(100);
  });
});
