import type { EntityManager } from 'typeorm';
import type { KeptMail } from '../../src/platform/mail/development-mailbox';

/** CI does it for every file; it takes a third of the time again. */
export const isSearched = process.env['SECRET_SEARCH'] === 'true';

/** Fields of answers that hand a secret out, and the only places where it may stand. */
const ISSUING_FIELDS = new Set([
  'access_token',
  'refresh_token',
  'device_token',
  'challenge_token',
  'api_key',
  'secret',
  'backup_codes',
]);
/** Fields of bodies that hold a password. */
const PASSWORD_FIELDS = ['password', 'new_password', 'current_password'];
/** Shorter words and passwords may stand anywhere by chance. */
const LENGTH_MIN = 12;
const WORD = new RegExp(`[\\w-]{${LENGTH_MIN},}`, 'g');
const FINDINGS_MAX = 5;

interface Exchange {
  readonly route: string;
  readonly text: string;
  /** Of the secrets that this answer hands out. */
  readonly issued: ReadonlySet<string>;
}

/** The answers of the API since the last search. */
const exchanges: Exchange[] = [];
/** What answers have handed out so far, and every password that was taken. */
const issued = new Set<string>();
const passwords = new Set<string>();

/** Notes an answer of the API. @param body what was sent, parsed. */
export function noteExchange(
  method: string,
  path: string,
  sent: unknown,
  answer: { status: number; text: string; body: unknown },
): void {
  if (!path.startsWith('/api/v1/')) return;
  const own = new Set(issuedBy(answer.body));
  exchanges.push({ route: `${method} ${path}`, text: answer.text, issued: own });
  for (const secret of own) issued.add(secret);
  if (answer.status !== 200 || typeof sent !== 'object' || sent === null) return;
  for (const field of PASSWORD_FIELDS) {
    const password = (sent as Record<string, unknown>)[field];
    if (typeof password === 'string' && password.length >= LENGTH_MIN) passwords.add(password);
  }
}

/** A row of a table, as text. */
export interface StoredRow {
  readonly table: string;
  readonly row: string;
}

/** Every row of every table. @param db of a role that may read them all. */
export async function storedRows(db: EntityManager): Promise<StoredRow[]> {
  const tables = await db.query<{ name: string }[]>(
    `SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
     WHERE table_schema IN ('public', 'pgboss') AND table_type = 'BASE TABLE'`,
  );
  const rows: StoredRow[] = [];
  for (const { name: table } of tables) {
    const texts = await db.query<{ row: string }[]>(`SELECT t::text AS row FROM ${table} t`);
    rows.push(...texts.map(({ row }) => ({ table, row })));
  }
  return rows;
}

/**
 * Where a secret stands that does not belong there: any in the log or in a table; one of an answer in another answer's
 * other field or in a mail; a mailed one in an answer, or in mails to two addresses.
 */
export function strayedSecrets(
  logLines: readonly string[],
  mails: readonly KeptMail[],
  rows: readonly StoredRow[],
): string[] {
  const addressees = new Map<string, string>();
  const findings: string[] = [];
  for (const { to, text, html } of mails) {
    for (const token of mailedTokens(text)) {
      if ((addressees.get(token) ?? to) !== to) findings.push(`a mailed token in mails to two addresses`);
      addressees.set(token, to);
    }
    if (holds(`${text}\n${html}`, issued)) findings.push('a secret of an answer in a mail');
  }
  for (const { route, text, issued: own } of exchanges.splice(0)) {
    if (holds(text, issued, own)) findings.push(`a secret in another field of ${route}`);
    if (holds(text, addressees)) findings.push(`a mailed token in the answer of ${route}`);
    if (holdsPassword(text)) findings.push(`a password in the answer of ${route}`);
  }
  for (const line of logLines) {
    if (holds(line, issued) || holds(line, addressees) || holdsPassword(line))
      findings.push(`a secret in the log: ${(JSON.parse(line) as { msg?: string }).msg ?? 'no message'}`);
  }
  for (const { table, row } of rows) {
    if (holds(row, issued) || holds(row, addressees) || holdsPassword(row))
      findings.push(`a secret in the table ${table}`);
  }
  return [...new Set(findings)].slice(0, FINDINGS_MAX);
}

function holds(
  text: string,
  secrets: { has(word: string): boolean },
  own: ReadonlySet<string> = new Set(),
): boolean {
  return (text.match(WORD) ?? []).some((word) => secrets.has(word) && !own.has(word));
}

function holdsPassword(text: string): boolean {
  return [...passwords].some((password) => text.includes(password));
}

function mailedTokens(text: string): string[] {
  return [...text.matchAll(/#token=([\w-]+)/g)].flatMap(([, token]) => token ?? []);
}

/** What an answer hands out: of each secret the part that nobody can guess, which is its last. */
function issuedBy(body: unknown): string[] {
  if (typeof body !== 'object' || body === null) return [];
  return Object.entries(body).flatMap(([name, value]: [string, unknown]) =>
    ISSUING_FIELDS.has(name)
      ? [value].flat().flatMap((secret) => (typeof secret === 'string' ? lastPart(secret) : []))
      : issuedBy(value),
  );
}

function lastPart(secret: string): string[] {
  return (secret.match(WORD) ?? []).slice(-1);
}
