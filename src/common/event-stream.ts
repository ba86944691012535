import type { ServerResponse } from 'node:http';

export const EVENT_STREAM = 'text/event-stream; charset=utf-8';

/** One server-sent event (WHATWG HTML, 9.2). @param data a text of one line, such as JSON. */
export function serverSentEvent(name: string, data: string): string {
  return `event: ${name}\ndata: ${data}\n\n`;
}

/** Aborted when the connection is gone that an answer is written to, as it may be already, or the answer is whole. */
export function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  const abort = (): void => {
    gone.abort(new Error('The reader has gone.'));
  };
  if (response.destroyed) abort();
  else response.once('close', abort);
  return gone.signal;
}
