/**
 * The fields of the list (`UsageLogDto`) as CSV (RFC 4180), as SQL over `usage_logs`. PostgreSQL writes the text: to make
 * objects of a million lines, and text of those, would keep this process busy and fill its memory.
 */
const fields: Readonly<Record<string, string>> = {
  id: 'id',
  created_at: `to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`,
  api_key_id: 'api_key_id',
  operation: quoted('operation'),
  provider: quoted('provider'),
  model: quoted('model'),
  input_tokens: 'input_tokens',
  output_tokens: 'output_tokens',
  tokens_used: 'tokens_used',
  cost_usd: 'cost_usd',
  status_code: `metadata->>'status_code'`,
  end_user: quoted(`metadata->>'end_user'`),
  ip_address: quoted('ip_address'),
  user_agent: quoted('user_agent'),
};

/** The first line of the file. */
export const csvHeader = `${Object.keys(fields).join(',')}\r\n`;

/** The text of one line, as SQL. */
export const csvLine = `${Object.values(fields)
  .map((field) => `coalesce((${field})::text, '')`)
  .join(` || ',' || `)} || E'\\r\\n'`;

/**
 * A text as a field. What a spreadsheet would take for a formula begins with an apostrophe (OWASP, CSV injection); a
 * negative number stays one.
 */
function quoted(text: string): string {
  const harmless = `CASE WHEN ${text} ~ '^[-=+@\\t\\r\\n\\uFF0B\\uFF0D\\uFF1D\\uFF20]' AND ${text} !~ '^-\\d+(\\.\\d+)?$'
                         THEN '''' || (${text}) ELSE ${text} END`;
  return `CASE WHEN ${text} ~ '[",\\r\\n]' THEN '"' || replace(${harmless}, '"', '""') || '"' ELSE ${harmless} END`;
}
