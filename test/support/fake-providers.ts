import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import { z } from 'zod';
import type { RemoteProvider } from '../../src/generate/language-models';

/**
 * What a fake does with the next requests; `stall` sends headers and half an answer, then nothing more. Of a stream
 * `stall` and `break` come after its first piece, and `endless` repeats the answer for as long as it is read.
 */
export type FakeBehaviour =
  | 'ok'
  | 'no_usage'
  | 'bad_request'
  | 'unauthorized'
  | 'rate_limited'
  | 'server_error'
  | 'html'
  | 'redirect'
  | 'hang'
  | 'stall'
  | 'drop'
  | 'break'
  | 'endless';

/** A request as it arrived; `closed` settles when its connection is gone or it has been answered. */
export interface FakeRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
  readonly closed: Promise<unknown>;
}

/** The answer of `ok`; of the input tokens a third is reported as cached, of the output tokens half as reasoning. */
export interface FakeAnswer {
  text: string;
  inputTokens: number;
  outputTokens: number;
}

/**
 * A provider of language models on the loopback that speaks the real wire format and refuses what the real one refuses:
 * wrong method, path, key, version header, unknown model or field. Its error messages repeat the key and the address,
 * as real ones do at times, so that a test can see that nothing of them reaches a caller.
 */
export class FakeProvider {
  behaviour: FakeBehaviour = 'ok';
  /** What requests that arrive from now on wait for before they are answered. */
  gate: Promise<unknown> | undefined;
  /** The same for what comes after the first piece of a stream. */
  streamGate: Promise<unknown> | undefined;
  /** Sent of the last stream, in bytes. */
  sentBytes = 0;
  /** Sent with `rate_limited`; undefined sends none. */
  retryAfter: string | undefined = '7';
  answer: FakeAnswer = { text: 'The sea is wide.', inputTokens: 19, outputTokens: 12 };
  readonly requests: FakeRequest[] = [];
  readonly apiKey: string;
  baseUrl = '';

  private readonly wire: Wire;
  private readonly arrivals = new EventEmitter();
  private readonly server = createServer((request, response) => void this.handle(request, response));

  /** Starts on a free port of 127.0.0.1. */
  static async start(provider: RemoteProvider): Promise<FakeProvider> {
    const fake = new FakeProvider(provider);
    fake.server.listen(0, '127.0.0.1');
    await once(fake.server, 'listening');
    const { port } = fake.server.address() as AddressInfo;
    fake.baseUrl = `http://127.0.0.1:${port}${fake.wire.basePath}`;
    return fake;
  }

  private constructor(provider: RemoteProvider) {
    this.wire = wires[provider];
    this.apiKey = `fake-${provider}-key-0123456789`;
  }

  /** Settles when the next request has arrived and been read. */
  async nextRequest(): Promise<FakeRequest> {
    const [request] = (await once(this.arrivals, 'request')) as [FakeRequest];
    return request;
  }

  /** Keeps requests waiting that arrive from now on, or streams after their first piece. @returns what lets them go on. */
  closeGate(which: 'gate' | 'streamGate' = 'gate'): () => void {
    const { promise, resolve } = Promise.withResolvers();
    this[which] = promise;
    return () => {
      resolve(undefined);
    };
  }

  /** Cuts what is still open and frees the port. */
  async close(): Promise<void> {
    this.server.close();
    this.server.closeAllConnections();
    await once(this.server, 'close');
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url: path = '', headers } = request;
    const received = {
      method,
      path,
      headers,
      body: parseJson(await readText(request)),
      closed: once(response, 'close'),
    };
    this.requests.push(received);
    this.arrivals.emit('request', received);
    await this.gate;

    const refused = this.wire.check(received, this.apiKey);
    if (refused) this.refuse(response, refused);
    else if (isStream(received) && ['ok', 'no_usage', 'stall', 'break', 'endless'].includes(this.behaviour))
      await this.stream(received, response);
    else this.behave(received, response);
  }

  /** The first word, then, behind the gate, the others. */
  private async stream(request: FakeRequest, response: ServerResponse): Promise<void> {
    const [first = '', ...others] = this.answer.text.split(/(?<= )/);
    const usage = this.behaviour === 'no_usage' ? undefined : this.answer;
    const { head, piece, tail } = this.wire.stream(request, usage);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(head + piece(first));
    this.sentBytes = 0;
    await this.streamGate;
    if (this.behaviour === 'stall') return;
    if (this.behaviour === 'break') {
      response.socket?.end();
      return;
    }
    const closed = once(response, 'close');
    do {
      for (const word of others) {
        const event = piece(word);
        this.sentBytes += event.length;
        if (!response.write(event)) await Promise.race([once(response, 'drain'), closed]);
      }
    } while (this.behaviour === 'endless' && !response.destroyed);
    response.end(tail);
  }

  private behave(request: FakeRequest, response: ServerResponse): void {
    switch (this.behaviour) {
      case 'ok':
        send(response, 200, this.wire.answer(request, this.answer));
        break;
      case 'no_usage':
        send(response, 200, {
          ...this.wire.answer(request, this.answer),
          usage: undefined,
          usageMetadata: undefined,
        });
        break;
      case 'bad_request':
        this.refuse(response, { status: 400, message: 'the prompt is too long' });
        break;
      case 'unauthorized':
        this.refuse(response, { status: 401, message: 'the key is wrong' });
        break;
      case 'rate_limited':
        if (this.retryAfter !== undefined) response.setHeader('retry-after', this.retryAfter);
        this.refuse(response, { status: 429, message: 'quota exceeded' });
        break;
      case 'server_error':
        this.refuse(response, { status: 500, message: 'internal error' });
        break;
      case 'html':
        response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Sign in to the network</html>');
        break;
      case 'redirect':
        response.writeHead(307, { location: `${this.baseUrl}/elsewhere` }).end();
        break;
      case 'stall':
        response.writeHead(200, { 'content-type': 'application/json' }).write('{"half":');
        break;
      case 'drop':
        response.destroy();
        break;
      case 'hang':
      case 'break':
      case 'endless':
        break;
    }
  }

  private refuse(response: ServerResponse, { status, message, reason }: Refusal): void {
    send(
      response,
      status,
      this.wire.error(status, `${message} (key ${this.apiKey} at ${this.baseUrl})`, reason),
    );
  }
}

interface Refusal {
  readonly status: number;
  readonly message: string;
  /** The provider's own name of the error, where it has one besides the status. */
  readonly reason?: string;
}

interface Wire {
  readonly basePath: string;
  /** What the real provider would refuse about a request, or undefined. */
  check(request: FakeRequest, apiKey: string): Refusal | undefined;
  answer(request: FakeRequest, answer: FakeAnswer): Record<string, unknown>;
  error(status: number, message: string, reason?: string): unknown;
  /** The same answer as server-sent events. */
  stream(request: FakeRequest, usage: FakeAnswer | undefined): FakeStream;
}

interface FakeStream {
  readonly head: string;
  readonly piece: (this: void, text: string) => string;
  readonly tail: string;
}

function event(data: unknown, name?: string): string {
  return `${name ? `event: ${name}\n` : ''}data: ${JSON.stringify(data)}\n\n`;
}

function isStream({ path, body }: FakeRequest): boolean {
  return (
    path.includes(':streamGenerateContent') || (body as { stream?: unknown } | undefined)?.stream === true
  );
}

const tokens = z.int().positive();
const geminiPath = /^\/v1beta\/models\/([^/:]+):(?:generateContent|streamGenerateContent\?alt=sse)$/;
const geminiBody = z.strictObject({
  contents: z
    .array(
      z.strictObject({
        role: z.literal('user'),
        parts: z.array(z.strictObject({ text: z.string() })).min(1),
      }),
    )
    .min(1),
  generationConfig: z.strictObject({ maxOutputTokens: tokens, thinkingConfig: z.looseObject({}).optional() }),
});
const openaiBody = z.strictObject({
  model: z.string(),
  messages: z.array(z.strictObject({ role: z.literal('user'), content: z.string() })).min(1),
  max_tokens: tokens.optional(),
  max_completion_tokens: tokens.optional(),
  stream: z.literal(true).optional(),
  stream_options: z.strictObject({ include_usage: z.literal(true) }).optional(),
  reasoning_effort: z.enum(['none', 'minimal', 'low', 'medium', 'high']).optional(),
});
const anthropicText = z.strictObject({ type: z.literal('text'), text: z.string() });
const anthropicBody = z.strictObject({
  model: z.string(),
  max_tokens: tokens,
  stream: z.literal(true).optional(),
  messages: z
    .array(z.strictObject({ role: z.literal('user'), content: z.array(anthropicText).min(1) }))
    .min(1),
  thinking: z.strictObject({ type: z.literal('disabled') }).optional(),
});

const gemini: Wire = {
  basePath: '/v1beta',
  check({ method, path, headers, body }, apiKey) {
    const model = geminiPath.exec(path)?.[1];
    if (method !== 'POST' || model === undefined) return { status: 404, message: 'no such method' };
    if (headers['x-goog-api-key'] !== apiKey) {
      return { status: 400, message: 'API key not valid', reason: 'API_KEY_INVALID' };
    }
    return checkBody(headers, body, geminiBody) ?? checkModel(model, /^gemini-/);
  },
  answer({ path }, { text, inputTokens, outputTokens }) {
    const { cached, reasoning } = shares(inputTokens, outputTokens);
    return {
      candidates: [{ content: { role: 'model', parts: [{ text }] }, finishReason: 'STOP', index: 0 }],
      modelVersion: geminiPath.exec(path)?.[1],
      responseId: 'fake-response',
      usageMetadata: {
        promptTokenCount: inputTokens,
        cachedContentTokenCount: cached,
        candidatesTokenCount: outputTokens - reasoning,
        thoughtsTokenCount: reasoning,
        totalTokenCount: inputTokens + outputTokens,
      },
    };
  },
  stream(request, usage) {
    const part = (text: string): Record<string, unknown> => ({
      ...gemini.answer(request, { text, inputTokens: 1, outputTokens: 0 }),
      usageMetadata: undefined,
    });
    const last = usage ? gemini.answer(request, { ...usage, text: '' }) : part('');
    return { head: '', piece: (text) => event(part(text)), tail: event(last) };
  },
  error(code, message, reason) {
    const names = new Map([
      [400, 'INVALID_ARGUMENT'],
      [401, 'UNAUTHENTICATED'],
      [404, 'NOT_FOUND'],
      [429, 'RESOURCE_EXHAUSTED'],
    ]);
    const details = reason ? [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason }] : [];
    return { error: { code, message, status: names.get(code) ?? 'INTERNAL', details } };
  },
};

const openai: Wire = {
  basePath: '/v1',
  check({ method, path, headers, body }, apiKey) {
    if (method !== 'POST' || path !== '/v1/chat/completions') return { status: 404, message: 'unknown URL' };
    if (headers.authorization !== `Bearer ${apiKey}`) return { status: 401, message: 'incorrect API key' };
    const refused = checkBody(headers, body, openaiBody);
    if (refused) return refused;
    const { model, max_tokens, max_completion_tokens } = openaiBody.parse(body);
    // Reasoning models refuse the old name of the limit.
    const isLimited = /^(gpt-[5-9]|o\d)/.test(model)
      ? max_completion_tokens !== undefined && max_tokens === undefined
      : max_tokens !== undefined;
    return (
      checkModel(model, /^(gpt-|o\d)/) ?? (isLimited ? undefined : { status: 400, message: 'wrong limit' })
    );
  },
  answer({ body }, { text, inputTokens, outputTokens }) {
    const { cached, reasoning } = shares(inputTokens, outputTokens);
    const message = { role: 'assistant', content: text, refusal: null };
    return {
      id: 'chatcmpl-fake',
      object: 'chat.completion',
      created: 1_790_000_000,
      model: `${openaiBody.parse(body).model}-2026-10-01`,
      choices: [{ index: 0, message, logprobs: null, finish_reason: 'stop' }],
      usage: {
        prompt_tokens: inputTokens,
        completion_tokens: outputTokens,
        total_tokens: inputTokens + outputTokens,
        prompt_tokens_details: { cached_tokens: cached },
        completion_tokens_details: { reasoning_tokens: reasoning },
      },
    };
  },
  stream(request, usage) {
    const chunk = (choices: unknown[], more: object = {}): string =>
      event({
        id: 'chatcmpl-fake',
        object: 'chat.completion.chunk',
        created: 1_790_000_000,
        choices,
        ...more,
      });
    const delta = (content: object, finish_reason: string | null): unknown[] => [
      { index: 0, delta: content, logprobs: null, finish_reason },
    ];
    const counts = usage && (openai.answer(request, usage) as { usage: object }).usage;
    return {
      head: chunk(delta({ role: 'assistant', content: '' }, null)),
      piece: (content) => chunk(delta({ content }, null)),
      tail: `${chunk(delta({}, 'stop'))}${counts ? chunk([], { usage: counts }) : ''}data: [DONE]\n\n`,
    };
  },
  error(status, message, code) {
    const type = status >= 500 ? 'server_error' : 'invalid_request_error';
    return { error: { message, type, param: null, code: code ?? null } };
  },
};

const anthropic: Wire = {
  basePath: '/v1',
  check({ method, path, headers, body }, apiKey) {
    if (method !== 'POST' || path !== '/v1/messages') return { status: 404, message: 'not found' };
    if (headers['x-api-key'] !== apiKey) return { status: 401, message: 'invalid x-api-key' };
    if (headers['anthropic-version'] !== '2023-06-01')
      return { status: 400, message: 'anthropic-version is required' };
    return checkBody(headers, body, anthropicBody) ?? checkModel(anthropicBody.parse(body).model, /^claude-/);
  },
  answer({ body }, { text, inputTokens, outputTokens }) {
    const { cached } = shares(inputTokens, outputTokens);
    return {
      id: 'msg_fake',
      type: 'message',
      role: 'assistant',
      model: anthropicBody.parse(body).model,
      content: [{ type: 'text', text }],
      stop_reason: 'end_turn',
      stop_sequence: null,
      // Here input_tokens leaves out what touched the cache: the input is the sum of the three.
      usage: {
        input_tokens: inputTokens - cached,
        cache_read_input_tokens: cached - 1,
        cache_creation_input_tokens: 1,
        output_tokens: outputTokens,
      },
    };
  },
  stream(request, usage) {
    const { usage: counts, ...message } = anthropic.answer(
      request,
      usage ?? { text: '', inputTokens: 0, outputTokens: 0 },
    ) as { usage: { output_tokens: number } };
    const named = (type: string, more: object): string => event({ type, ...more }, type);
    const start = { ...message, content: [], stop_reason: null, usage: { ...counts, output_tokens: 1 } };
    return {
      head:
        named('message_start', { message: start }) +
        named('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
      piece: (text) => named('content_block_delta', { index: 0, delta: { type: 'text_delta', text } }),
      tail:
        named('content_block_stop', { index: 0 }) +
        named('message_delta', {
          delta: { stop_reason: 'end_turn', stop_sequence: null },
          usage: { output_tokens: usage ? counts.output_tokens : 0 },
        }) +
        named('message_stop', {}),
    };
  },
  error(status, message) {
    const names = new Map([
      [400, 'invalid_request_error'],
      [401, 'authentication_error'],
      [404, 'not_found_error'],
      [429, 'rate_limit_error'],
    ]);
    return {
      type: 'error',
      error: { type: names.get(status) ?? 'api_error', message },
      request_id: 'req_fake',
    };
  },
};

const wires: Record<RemoteProvider, Wire> = { gemini, openai, anthropic };

function shares(inputTokens: number, outputTokens: number): { cached: number; reasoning: number } {
  return { cached: Math.ceil(inputTokens / 3), reasoning: Math.floor(outputTokens / 2) };
}

function checkBody(headers: IncomingHttpHeaders, body: unknown, schema: z.ZodType): Refusal | undefined {
  if (headers['content-type'] !== 'application/json') return { status: 400, message: 'not JSON' };
  const { error } = schema.safeParse(body);
  return error && { status: 400, message: z.prettifyError(error) };
}

function checkModel(model: string, known: RegExp): Refusal | undefined {
  return known.test(model)
    ? undefined
    : { status: 404, message: `no model ${model}`, reason: 'model_not_found' };
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
