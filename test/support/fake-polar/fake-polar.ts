import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import { requestFaults } from './contract';
import { PolarStore, Refusal } from './polar-store';
import { answerRequest } from './routes';

/**
 * What goes wrong with a request: its connection is cut before anything is done, or after; it is never answered, or
 * done and never answered; it is answered with a status or with a page of HTML; or it is said to be done and is not.
 */
export type Fault =
  | 'drop'
  | 'hang'
  | 'html'
  | 'commit-then-drop'
  | 'commit-then-hang'
  | 'lie'
  | { status: number; retryAfter?: string; location?: string; body?: object };

/** A request as it arrived. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
}

/**
 * Polar on the loopback: keeps customers, subscriptions, checkouts, usage events and what is sold, refuses what the
 * real one refuses, and holds every request against the contract.
 */
export class FakePolar {
  readonly token = 'polar_oat_of_the_tests';
  readonly store = new PolarStore();
  readonly requests: SeenRequest[] = [];
  /** Every request that is not as the contract says; a test ends with `expect(...).toEqual([])`. */
  readonly violations: string[] = [];
  /** Asked about each request; by default the queue of {@link failNext} is used up, one fault a request. */
  faultOf: (request: SeenRequest) => Fault | undefined | Promise<Fault | undefined> = () =>
    this.queue.shift();
  url = '';

  private readonly queue: Fault[] = [];
  private readonly hanging = new Set<ServerResponse>();

  private constructor(private readonly server: Server) {}

  static async start(): Promise<FakePolar> {
    const server = createServer();
    const fake = new FakePolar(server);
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      void fake.serve(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    fake.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return fake;
  }

  /** The settings of a service that is billed here. */
  settings(more: Record<string, string> = {}): Record<string, string> {
    return {
      POLAR_API_KEY: this.token,
      POLAR_SERVER: this.url,
      POLAR_WEBHOOK_SECRET: this.store.webhookSecret,
      ...more,
    };
  }

  failNext(...faults: Fault[]): void {
    this.queue.push(...faults);
  }

  /** Lets everything through again, also what is hanging. */
  heal(): void {
    this.queue.length = 0;
    this.faultOf = () => this.queue.shift();
    for (const response of this.hanging) response.destroy();
    this.hanging.clear();
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', this.url);
    const text = await readText(request).catch(() => '');
    const seen = {
      method: request.method ?? '',
      path: url.pathname,
      body: text ? (JSON.parse(text) as unknown) : undefined,
    };
    this.requests.push(seen);
    const fault = await this.faultOf(seen);
    if (fault === 'hang') {
      this.hanging.add(response);
      return;
    }
    if (fault === 'drop') {
      request.socket.destroy();
      return;
    }
    if (fault === 'html') {
      send(response, 200, '<html><body>We will be right back</body></html>', 'text/html');
      return;
    }
    if (typeof fault === 'object') {
      if (fault.retryAfter !== undefined) response.setHeader('retry-after', fault.retryAfter);
      if (fault.location !== undefined) response.setHeader('location', fault.location);
      send(
        response,
        fault.status,
        JSON.stringify(fault.body ?? { error: 'Unavailable', detail: 'Try again later' }),
      );
      return;
    }
    const { status, body } = this.answer(request, seen, url.searchParams, fault === 'lie');
    if (fault === 'commit-then-drop') request.socket.destroy();
    else if (fault === 'commit-then-hang') this.hanging.add(response);
    else send(response, status, JSON.stringify(body));
  }

  private answer(
    { headers }: IncomingMessage,
    { method, path, body }: SeenRequest,
    query: URLSearchParams,
    isLie: boolean,
  ): { status: number; body: unknown } {
    if (headers.authorization !== `Bearer ${this.token}`)
      return {
        status: 401,
        body: { error: 'invalid_token', error_description: 'The access token is not valid' },
      };
    if (headers['polar-version'] !== '2026-10') return { status: 404, body: { error: 'NotFound' } };
    const faults = requestFaults(method, path, body);
    this.violations.push(...faults);
    if (faults.length > 0)
      return { status: 422, body: { detail: [{ loc: ['body'], msg: faults.join(), type: 'value' }] } };
    try {
      return answerRequest(this.store, { method, path, body, query, isLie });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return { status: error.status, body: error.body };
    }
  }
}

function send(response: ServerResponse, status: number, body: string, type = 'application/json'): void {
  response.writeHead(status, { 'content-type': type });
  response.end(body);
}
