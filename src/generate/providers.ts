import { Inject, Injectable } from '@nestjs/common';
import type { generateText } from 'ai';
import { ENV, type Env } from '../config/env';
import { Traces } from '../platform/observability/traces';
import { EchoProvider } from './echo-provider';
import { GenerateErrors } from './generate.errors';
import {
  defaultModels,
  loadModels,
  type ModelFactory,
  type ProviderAccess,
  providerAccess,
  type RemoteProvider,
} from './language-models';
import { providerFailure } from './provider-failure';

export const providerNames = ['gemini', 'openai', 'anthropic', 'echo'] as const;
export type ProviderName = (typeof providerNames)[number];

/** What a provider is asked for. */
export interface GenerateRequest {
  readonly provider: ProviderName;
  readonly prompt: string;
  /** Passed on as it is; without it the provider's default answers. */
  readonly model?: string;
  /** Most tokens of the answer, those of hidden reasoning included. */
  readonly maxTokens: number;
}

/** An answer with the provider's own count of tokens: cached input and hidden reasoning are in the totals. */
export interface Generation {
  readonly text: string;
  readonly provider: ProviderName;
  /** The model that was asked for, which is the name that has a price, not the dated one a provider may answer with. */
  readonly model: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Those of the input that the provider had in its cache. */
  readonly cachedTokens: number;
}

/** What a streamed answer comes to at its end. */
export type GenerationEnd = Omit<Generation, 'text'>;

/** What providers add to a prompt for its form as a conversation; more than any of them needs. */
const CONVERSATION_TOKENS_MAX = 64;

/** The most that a request can consume: no tokenizer makes more tokens than the text has bytes in UTF-8. */
export function mostOf({
  provider,
  prompt,
  model,
  maxTokens,
}: GenerateRequest): Omit<Generation, 'text' | 'cachedTokens'> {
  const bytes = Buffer.byteLength(prompt);
  return provider === 'echo'
    ? { provider, model: model ?? 'echo', inputTokens: bytes, outputTokens: Math.min(bytes, maxTokens) }
    : {
        provider,
        model: model ?? defaultModels[provider],
        inputTokens: bytes + CONVERSATION_TOKENS_MAX,
        outputTokens: maxTokens,
      };
}

/** The language models behind `POST /generate`. Their SDKs are loaded when first needed, not when the service starts. */
@Injectable()
export class Providers {
  private readonly echo = new EchoProvider();
  private readonly models = new Map<RemoteProvider, Promise<ModelFactory>>();

  constructor(
    @Inject(ENV) private readonly env: Env,
    private readonly traces: Traces,
  ) {}

  /**
   * Asks a provider once: no retries, no redirects, at most `PROVIDER_TIMEOUT_SECONDS`.
   * @throws ApiError of {@link GenerateErrors}; an answer without token counts is an error too, for it could not be charged.
   */
  async generate(request: GenerateRequest): Promise<Generation> {
    const { provider } = request;
    if (provider === 'echo') return this.generateEcho(request);

    const access = providerAccess(this.env, provider);
    if (!access) throw GenerateErrors.providerNotConfigured(provider);
    const timeout = AbortSignal.timeout(this.env.PROVIDER_TIMEOUT_SECONDS * 1000);
    try {
      return await this.traces.span(
        'provider call',
        () => ({ provider }),
        () => this.ask(provider, access, request, timeout),
      );
    } catch (error) {
      throw providerFailure(provider, access, timeout.aborted ? timeout.reason : error);
    }
  }

  /**
   * The answer in the pieces in which a provider gives it, asked for as they are taken; ends with the counts.
   * @param signal gives it up; it also says how long it may take.
   * @throws as {@link generate}; of `signal` a `TimeoutError` becomes `provider_timeout`.
   */
  async *stream(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<string, GenerationEnd> {
    const { provider, prompt, model = 'echo', maxTokens } = request;
    if (provider === 'echo') {
      if (this.env.isProduction) throw GenerateErrors.providerNotConfigured('echo');
      const counts = yield* this.echo.stream(prompt, maxTokens, signal);
      return { provider, model, cachedTokens: 0, ...counts };
    }
    const access = providerAccess(this.env, provider);
    if (!access) throw GenerateErrors.providerNotConfigured(provider);
    try {
      return yield* this.askForPieces(provider, access, request, signal);
    } catch (error) {
      throw providerFailure(provider, access, signal.aborted ? signal.reason : error);
    }
  }

  /** In production echo does not exist, and is refused like any provider that is not set up. */
  private async generateEcho({ prompt, model = 'echo', maxTokens }: GenerateRequest): Promise<Generation> {
    if (this.env.isProduction) throw GenerateErrors.providerNotConfigured('echo');
    return { provider: 'echo', model, cachedTokens: 0, ...(await this.echo.generate(prompt, maxTokens)) };
  }

  private async ask(
    provider: RemoteProvider,
    access: ProviderAccess,
    { prompt, model, maxTokens }: GenerateRequest,
    abortSignal: AbortSignal,
  ): Promise<Generation> {
    const [generateText, createModel] = await Promise.all([
      loadGenerateText(),
      this.modelFactory(provider, access),
    ]);
    const modelName = model ?? defaultModels[provider];
    const { text, usage } = await generateText({
      model: createModel(modelName),
      prompt,
      maxOutputTokens: maxTokens,
      reasoning: reasoningOf(model),
      maxRetries: 0,
      abortSignal,
      headers: this.traces.headers(),
      telemetry: { isEnabled: false },
    });
    const { inputTokens, outputTokens, inputTokenDetails } = usage;
    const counts = countedTokens(inputTokens, outputTokens, inputTokenDetails.cacheReadTokens, text !== '');
    return { text, provider, model: modelName, ...counts };
  }

  /** Asks the model itself: what the SDK puts around it would keep the whole answer in memory. */
  private async *askForPieces(
    provider: RemoteProvider,
    access: ProviderAccess,
    { prompt, model, maxTokens }: GenerateRequest,
    abortSignal: AbortSignal,
  ): AsyncGenerator<string, GenerationEnd> {
    const createModel = await this.modelFactory(provider, access);
    const modelName = model ?? defaultModels[provider];
    const { stream } = await this.traces.span(
      'provider call',
      () => ({ provider }),
      async () =>
        createModel(modelName).doStream({
          prompt: [{ role: 'user', content: [{ type: 'text', text: prompt }] }],
          maxOutputTokens: maxTokens,
          reasoning: reasoningOf(model),
          abortSignal,
          headers: this.traces.headers(),
        }),
    );
    let hasText = false;
    for await (const part of stream) {
      if (part.type === 'error') throw part.error;
      if (part.type === 'text-delta' && part.delta !== '') {
        hasText = true;
        yield part.delta;
      }
      if (part.type !== 'finish') continue;
      const { inputTokens, outputTokens } = part.usage;
      const counts = countedTokens(inputTokens.total, outputTokens.total, inputTokens.cacheRead, hasText);
      return { provider, model: modelName, ...counts };
    }
    throw new Error('The answer has no end.');
  }

  private modelFactory(provider: RemoteProvider, access: ProviderAccess): Promise<ModelFactory> {
    const known = this.models.get(provider) ?? loadModels(provider, access);
    this.models.set(provider, known);
    return known;
  }
}

/** About 250 ms and 30 MB on first use; after that it costs nothing. */
async function loadGenerateText(): Promise<typeof generateText> {
  const ai = await import('ai');
  // Warnings would go to standard error, past the log and its format.
  globalThis.AI_SDK_LOG_WARNINGS = false;
  return ai.generateText;
}

/** Hidden reasoning would use up a small maxTokens before the first word; whoever names a model gets it as it is. */
function reasoningOf(model: string | undefined): 'none' | 'provider-default' {
  return model === undefined ? 'none' : 'provider-default';
}

/** The SDK turns a missing count into 0, and no prompt has 0 tokens, nor has any text. */
function countedTokens(
  inputTokens = 0,
  outputTokens = 0,
  cached = 0,
  hasText: boolean,
): Pick<Generation, 'inputTokens' | 'outputTokens' | 'cachedTokens'> {
  const isCount = (tokens: number, min: number): boolean => Number.isSafeInteger(tokens) && tokens >= min;
  if (!isCount(inputTokens, 1) || !isCount(outputTokens, hasText ? 1 : 0)) {
    throw new Error('The answer has no usable token counts.');
  }
  const cachedTokens = isCount(cached, 0) ? Math.min(cached, inputTokens) : 0;
  return { inputTokens, outputTokens, cachedTokens };
}
