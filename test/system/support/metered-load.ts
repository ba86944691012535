import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';

const PAUSE_MS = 20;

/** What the client saw of one call: the id of an answered one, how it was refused, or nothing when the connection broke. */
export interface Outcome {
  readonly requestId?: string;
  readonly refusal?: string;
}

/** What must not be, by the end users of the calls concerned. */
export interface Findings {
  readonly lost: string[];
  readonly doubled: string[];
  readonly neverSent: string[];
}

/** Metered calls over many connections to several processes, until it is ended. Each names an end user of its own, which its ledger line keeps. */
export class MeteredLoad {
  readonly outcomes = new Map<string, Outcome>();
  /** The longest that a call waited for its answer, in milliseconds. */
  longestMs = 0;
  private readonly agent = new Agent({ keepAlive: true });
  private readonly ending = new AbortController();
  private readonly done: Promise<unknown>;

  /**
   * @param name what the names of its calls begin with.
   * @param urls of the processes, and `apiKeys`: connections take them in turn.
   */
  constructor(
    private readonly name: string,
    urls: readonly string[],
    apiKeys: readonly string[],
    connections = 32,
  ) {
    this.done = Promise.all(
      Array.from({ length: connections }, (_, n) =>
        this.run(n, urls[n % urls.length] ?? '', apiKeys[Math.floor(n / urls.length) % apiKeys.length] ?? ''),
      ),
    );
  }

  get acknowledged(): number {
    return [...this.outcomes.values()].filter(({ requestId }) => requestId !== undefined).length;
  }

  get broken(): number {
    return [...this.outcomes.values()].filter(isBroken).length;
  }

  /** How calls were refused, each way once. */
  get refusals(): string[] {
    return [...new Set([...this.outcomes.values()].flatMap(({ refusal }) => refusal ?? []))];
  }

  get refused(): number {
    return [...this.outcomes.values()].filter(({ refusal }) => refusal !== undefined).length;
  }

  /** Resolves when every call has its answer, or none any more. */
  async end(): Promise<void> {
    this.ending.abort();
    await this.done;
    this.agent.destroy();
  }

  /** Holds what was answered against the ledger. */
  async compare(db: Client): Promise<Findings> {
    const { rows } = await db.query<{ id: string; end_user: string }>(
      `SELECT id, metadata->>'end_user' AS end_user FROM usage_logs WHERE metadata->>'end_user' LIKE $1`,
      [`${this.name},%`],
    );
    const rowOf = new Map(rows.map((row) => [row.end_user, row]));
    const isLost = ([endUser, { requestId }]: [string, Outcome]): boolean =>
      requestId !== undefined && rowOf.get(endUser)?.id !== requestId;
    return {
      lost: [...this.outcomes].filter(isLost).map(([endUser]) => endUser),
      doubled: rows.filter((row) => rowOf.get(row.end_user) !== row).map(({ end_user }) => end_user),
      neverSent: rows.filter(({ end_user }) => !this.outcomes.has(end_user)).map(({ end_user }) => end_user),
    };
  }

  private async run(connection: number, url: string, apiKey: string): Promise<void> {
    for (let n = 0; !this.ending.signal.aborted; n++) {
      const endUser = `${this.name}, connection ${connection}, call ${n}`;
      const startedMs = performance.now();
      const outcome = await generate(this.agent, url, apiKey, endUser);
      this.longestMs = Math.max(this.longestMs, performance.now() - startedMs);
      this.outcomes.set(endUser, outcome);
      if (outcome.requestId === undefined) await sleep(PAUSE_MS);
    }
  }
}

/** Neither answered nor refused: the connection broke. */
function isBroken({ requestId, refusal }: Outcome): boolean {
  return requestId === undefined && refusal === undefined;
}

/** One metered call. A refusal is told by its status, form, code and whether it says when to try again. */
export async function generate(agent: Agent, url: string, apiKey: string, endUser: string): Promise<Outcome> {
  const outgoing = request(`${url}/api/v1/generate`, {
    agent,
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': apiKey },
  });
  // It may fail once more while its answer breaks off; what is awaited below tells that too.
  outgoing.on('error', () => undefined);
  outgoing.end(JSON.stringify({ user_id: endUser, prompt: 'q~z7%', provider: 'echo' }));
  let answer: IncomingMessage;
  try {
    [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  } catch {
    return {};
  }
  const { statusCode, headers } = answer;
  const requestId = String(headers['x-request-id']);
  const body = (await json(answer).catch(() => ({}))) as { code?: string };
  if (statusCode === 200) return { requestId };
  const isProblem = headers['content-type']?.startsWith('application/problem+json') ?? false;
  const again = headers['retry-after'] === undefined ? '' : ', Retry-After';
  return { refusal: `${statusCode ?? 0} ${isProblem ? (body.code ?? '') : 'no problem'}${again}` };
}
