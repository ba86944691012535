import type { Client } from 'pg';

const isNotOnce = (action: string, match: string): string =>
  `(SELECT count(*) FROM audit_events WHERE action = '${action}' AND ${match}) <> 1`;

/** What must never be: each query finds the rows that are only half there, or there twice. */
const queries = {
  'an account without its one sign-up in the audit log': `SELECT id FROM users
    WHERE ${isNotOnce('user.registered', 'subject_id = users.id')}`,
  'an account without the token of its verification': `SELECT id FROM users WHERE NOT is_verified AND NOT EXISTS
    (SELECT FROM one_time_tokens WHERE user_id = users.id AND purpose = 'verify_email')`,
  'a session without its one log-in in the audit log': `SELECT id FROM sessions
    WHERE ${isNotOnce('user.login', 'target_id = sessions.id')}`,
  'a session that outlived a reset of the password': `SELECT id FROM sessions WHERE EXISTS
    (SELECT FROM audit_events WHERE subject_id = user_id AND action = 'password.reset' AND occurred_at > created_at)`,
  'a key without a secret': `SELECT id FROM api_keys
    WHERE NOT EXISTS (SELECT FROM api_key_versions WHERE api_key_id = api_keys.id)`,
  'a key without its one making in the audit log': `SELECT id FROM api_keys
    WHERE ${isNotOnce('key.created', 'target_id = api_keys.id')}`,
  'a key that was made twice': 'SELECT name FROM api_keys GROUP BY user_id, name HAVING count(*) > 1',
};

/** What of accounts, sessions and keys is there in part, or twice, by its description; keys must have names of their own. */
export async function halfDone(db: Client): Promise<string[]> {
  const found: string[] = [];
  for (const [what, sql] of Object.entries(queries)) {
    const { rows } = await db.query(sql);
    found.push(...rows.map((row) => `${what}: ${JSON.stringify(row)}`));
  }
  return found;
}
