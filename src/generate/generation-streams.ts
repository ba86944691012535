import { Readable } from 'node:stream';
import { Inject, Injectable } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import type { Logger } from 'pino';
import { goneSignal, serverSentEvent } from '../common/event-stream';
import { LOG } from '../common/log-token';
import { usdNumber } from '../common/money';
import { problemBody, toApiError } from '../common/problem.filter';
import { ENV, type Env } from '../config/env';
import { isLate } from '../platform/database/statement-limits';
import type { MeteredCall } from '../usage/metered-call';
import { toDone } from './generate.dto';
import { GenerateErrors } from './generate.errors';
import { type GenerateRequest, type GenerationEnd, mostOf, Providers } from './providers';

/** Of English text in today's tokenizers. */
const BYTES_PER_TOKEN = 4;
/** So long after its time is over a stream is written out to a reader who is slow. */
const LATE_READER_MS = 5_000;
/** How often a database that hangs is asked to book a stream. */
const BOOK_TRIES = 4;

/** A call whose answer is streamed. */
interface Streamed {
  readonly call: MeteredCall;
  readonly request: GenerateRequest;
  readonly endUser: string;
  /** The reader has left. */
  readonly gone: AbortSignal;
  /** The time is over. */
  readonly deadline: AbortSignal;
}

/** Answers of `POST /generate` as server-sent events: `text` for each piece, then `done` or `error`. */
@Injectable()
export class GenerationStreams {
  private readonly timeoutMs: number;

  constructor(
    private readonly providers: Providers,
    @Inject(LOG) private readonly log: Logger,
    @Inject(ENV) env: Env,
  ) {
    this.timeoutMs = env.PROVIDER_TIMEOUT_SECONDS * 1_000;
  }

  /**
   * Resolves with the first event, so that what fails before it is an ordinary error.
   * @returns the events, made as they are read.
   */
  async open(
    call: MeteredCall,
    request: GenerateRequest,
    endUser: string,
    { raw }: FastifyReply,
  ): Promise<Readable> {
    const gone = goneSignal(raw);
    await call.reserveStream(mostOf(request), estimate(request, 0));
    if (gone.aborted) {
      // Nothing was asked of the provider yet.
      await call.release();
      return Readable.from([]);
    }
    const deadline = AbortSignal.timeout(this.timeoutMs);
    const lateReader = setTimeout(() => raw.destroy(), this.timeoutMs + LATE_READER_MS);
    raw.once('close', () => {
      clearTimeout(lateReader);
    });
    const events = this.events({ call, request, endUser, gone, deadline });
    const first = await events.next();
    const answer = Readable.from(events, { objectMode: false });
    if (!first.done) answer.push(first.value);
    return answer;
  }

  /** Ends the call before its last event, or when the reader leaves. */
  private async *events(streamed: Streamed): AsyncGenerator<string, void> {
    const { call, request, endUser, gone, deadline } = streamed;
    const pieces = this.providers.stream(request, AbortSignal.any([gone, deadline]));
    let textBytes = 0;
    let isEnded = false;
    try {
      let next = await pieces.next();
      for (; !next.done; next = await pieces.next()) {
        textBytes += Buffer.byteLength(next.value);
        yield serverSentEvent('text', JSON.stringify({ text: next.value }));
      }
      isEnded = true;
      const cost = call.charge(next.value, endUser);
      await this.book(call);
      yield serverSentEvent('done', JSON.stringify(toDone(next.value, call.requestId, usdNumber(cost))));
    } catch (error) {
      if (gone.aborted) return;
      const isProviders = !isEnded;
      isEnded = true;
      if (textBytes === 0) throw error;
      yield this.problem(call, isProviders ? await this.broken(streamed, textBytes, error) : error);
    } finally {
      // The reader has left. What cannot be written now is told by the row of what the call holds.
      if (!isEnded) {
        call.chargeEstimate(estimate(request, textBytes), endUser);
        await this.book(call).catch(() => undefined);
      }
    }
  }

  /** Ends a call that its provider does not end well: a failure is free, what merely takes too long is not. */
  private async broken(
    { call, request, endUser, deadline }: Streamed,
    textBytes: number,
    error: unknown,
  ): Promise<unknown> {
    if (!deadline.aborted) {
      await call.release();
      return error;
    }
    call.chargeEstimate(estimate(request, textBytes), endUser);
    return this.book(call).then(
      () => GenerateErrors.streamCutOff(this.timeoutMs / 1_000),
      (unbooked: unknown) => unbooked,
    );
  }

  /**
   * Nobody waits for an answer of which the most has come: a database that hangs is asked again.
   * @throws ApiError `stream_not_booked`.
   */
  private async book(call: MeteredCall, triesLeft = BOOK_TRIES): Promise<void> {
    try {
      await call.settle(200);
    } catch (cause) {
      if (isLate(cause) && triesLeft > 1) return this.book(call, triesLeft - 1);
      throw GenerateErrors.streamNotBooked.with({ cause });
    }
  }

  private problem({ requestId }: MeteredCall, thrown: unknown): string {
    const error = toApiError(thrown);
    if (error.status >= 500) {
      const { code, title, cause } = error;
      this.log.error({ request_id: requestId, code, err: cause ?? thrown }, title);
    }
    return serverSentEvent('error', problemBody(error, requestId));
  }
}

/** What a call that ends early has consumed, as far as that can be seen. */
function estimate(request: GenerateRequest, textBytes: number): GenerationEnd {
  const { provider, model, outputTokens } = mostOf(request);
  return {
    provider,
    model,
    inputTokens: Math.ceil(Buffer.byteLength(request.prompt) / BYTES_PER_TOKEN),
    outputTokens: Math.min(Math.ceil(textBytes / BYTES_PER_TOKEN), outputTokens),
    cachedTokens: 0,
  };
}
