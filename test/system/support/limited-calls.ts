import { once } from 'node:events';
import { type Agent, type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/** One call as its client saw it; it was decided between the two moments, in milliseconds. */
export interface LimitedCall {
  readonly sentAtMs: number;
  readonly answeredAtMs: number;
  readonly isAccepted: boolean;
}

/** Sends one call. @throws Error when it is answered with anything but 200 or 429. */
export async function send(agent: Agent, url: string, apiKey: string): Promise<LimitedCall> {
  const sentAtMs = performance.now();
  const outgoing = request(`${url}/api/v1/generate`, {
    agent,
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': apiKey },
  });
  outgoing.end(JSON.stringify({ user_id: 'end-user', prompt: 'hi', provider: 'echo' }));
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  const answeredAtMs = performance.now();
  answer.resume();
  await once(answer, 'end');
  const { statusCode = 0 } = answer;
  if (statusCode !== 200 && statusCode !== 429) throw new Error(`A call was answered with ${statusCode}.`);
  return { sentAtMs, answeredAtMs, isAccepted: statusCode === 200 };
}

/** Sends calls at a steady rate to one address after the other, whether or not those before were answered. */
export class SteadyClient {
  private readonly sent: Promise<LimitedCall>[] = [];
  private isEnding = false;
  private readonly running: Promise<void>;

  constructor(agent: Agent, urls: readonly string[], apiKey: string, perSecond: number) {
    this.running = (async () => {
      const startedAtMs = performance.now();
      while (!this.isEnding) {
        const call = send(agent, urls[this.sent.length % urls.length] ?? '', apiKey);
        // Awaited at the end, where a failure shows.
        call.catch(() => undefined);
        this.sent.push(call);
        await sleep(Math.max(0, startedAtMs + (this.sent.length / perSecond) * 1_000 - performance.now()));
      }
    })();
  }

  async end(): Promise<LimitedCall[]> {
    this.isEnding = true;
    await this.running;
    return Promise.all(this.sent);
  }
}

/** A span of time, in milliseconds, as `performance.now()` counts. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * Pairs of accepted calls that show, whenever they were decided, that more than the limit was accepted within less than
 * a window. Clocks tick in milliseconds: two are allowed for.
 * @param except windows that touch one of these spans are left out.
 */
export function excesses(
  calls: readonly LimitedCall[],
  limit: number,
  windowMs: number,
  except: readonly Span[] = [],
): string[] {
  const accepted = calls.filter(({ isAccepted }) => isAccepted);
  const bySent = accepted.map(({ sentAtMs }) => sentAtMs).sort((a, b) => a - b);
  const byAnswer = accepted.map(({ answeredAtMs }) => answeredAtMs).sort((a, b) => a - b);
  return bySent.flatMap((sentAtMs, i) => {
    const end = byAnswer[i + limit];
    // Those sent from here on and answered up to `end` are more than the limit.
    if (end === undefined || end - sentAtMs >= windowMs - 2) return [];
    if (except.some(({ fromMs, toMs }) => sentAtMs <= toMs && end >= fromMs)) return [];
    const within = accepted.filter((call) => call.sentAtMs >= sentAtMs && call.answeredAtMs <= end).length;
    return within > limit ? [`${within} within ${(end - sentAtMs).toFixed(0)} ms`] : [];
  });
}

/** Refused calls at which, whenever the calls were decided, there was a place. */
export function wrongRefusals(calls: readonly LimitedCall[], limit: number, windowMs: number): LimitedCall[] {
  const accepted = calls.filter(({ isAccepted }) => isAccepted);
  return calls.filter(({ isAccepted, sentAtMs, answeredAtMs }) => {
    if (isAccepted) return false;
    const maybeInWindow = accepted.filter(
      (call) => call.answeredAtMs >= sentAtMs - windowMs - 2 && call.sentAtMs <= answeredAtMs,
    );
    return maybeInWindow.length < limit;
  });
}
