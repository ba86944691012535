import { inspect } from 'node:util';
import { type FakeBehaviour, FakeProvider } from '../../test/support/fake-providers';
import { ApiError } from '../common/api-error';
import { type Env, parseEnv } from '../config/env';
import { NoTraces } from '../platform/observability/traces';
import { publicPrices } from '../usage/start-up-prices';
import { defaultModels, type RemoteProvider } from './language-models';
import { type GenerateRequest, Providers } from './providers';

const settingsOf = {
  gemini: (GEMINI_API_KEY: string, GEMINI_BASE_URL: string) => ({ GEMINI_API_KEY, GEMINI_BASE_URL }),
  openai: (OPENAI_API_KEY: string, OPENAI_BASE_URL: string) => ({ OPENAI_API_KEY, OPENAI_BASE_URL }),
  anthropic: (ANTHROPIC_API_KEY: string, ANTHROPIC_BASE_URL: string) => ({
    ANTHROPIC_API_KEY,
    ANTHROPIC_BASE_URL,
  }),
};
const otherModels = { gemini: 'gemini-3.8-flash', openai: 'gpt-4.1-mini', anthropic: 'claude-sonnet-5' };
const prompt = 'Write one sentence about the sea.';

function makeProviders(settings: Partial<Env>): Providers {
  const secrets = { JWT_SECRET_KEY: 'a', SECRET_KEY: 'b' };
  return new Providers({ ...parseEnv({ NODE_ENV: 'test' }, () => secrets), ...settings }, new NoTraces());
}

async function failureOf(answer: Promise<unknown>): Promise<ApiError> {
  const error: unknown = await answer.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ApiError)) throw new Error('No ApiError was thrown.', { cause: error });
  return error;
}

it.each(Object.entries(defaultModels))('the default model of %s has a public price', (provider, model) => {
  expect(publicPrices.providers[provider]?.usdPerMillion).toHaveProperty([model]);
});

describe.each(['gemini', 'openai', 'anthropic'] as const)('provider %s', (provider: RemoteProvider) => {
  let fake: FakeProvider;
  let providers: Providers;
  const request: GenerateRequest = { provider, prompt, maxTokens: 1024 };

  const configured = (settings: Partial<Env> = {}): Providers =>
    makeProviders({ ...settingsOf[provider](fake.apiKey, fake.baseUrl), ...settings });

  beforeEach(async () => {
    fake = await FakeProvider.start(provider);
    providers = configured();
  });
  afterEach(() => fake.close());

  it('answers with the text and the total token counts of the provider, after one request', async () => {
    const answer = await providers.generate(request);

    expect(answer).toEqual({
      text: 'The sea is wide.',
      provider,
      model: defaultModels[provider],
      inputTokens: 19,
      outputTokens: 12,
      // What the fake's usage says was read from the cache.
      cachedTokens: provider === 'anthropic' ? 6 : 7,
    });
    expect(fake.requests).toHaveLength(1);
    expect(JSON.stringify(fake.requests[0]?.body)).toContain(prompt);
    expect(JSON.stringify(fake.requests[0]?.body)).toContain('1024');
  });

  it('turns hidden reasoning off for the default model, and leaves a named model as it is', async () => {
    await providers.generate(request);
    const { model } = await providers.generate({ ...request, model: otherModels[provider] });

    const reasoning = /"(reasoning_effort|thinking|thinkingConfig)"/;
    expect(JSON.stringify(fake.requests[0]?.body)).toMatch(reasoning);
    expect(JSON.stringify(fake.requests[1]?.body)).not.toMatch(reasoning);
    expect(model).toBe(otherModels[provider]);
  });

  const failures: [FakeBehaviour, string, number][] = [
    ['bad_request', 'provider_rejected', 400],
    ['unauthorized', 'provider_error', 502],
    ['server_error', 'provider_error', 502],
    ['html', 'provider_error', 502],
    ['no_usage', 'provider_error', 502],
    ['redirect', 'provider_error', 502],
    ['drop', 'provider_error', 502],
    ['rate_limited', 'provider_rate_limited', 503],
    ['hang', 'provider_timeout', 504],
    ['stall', 'provider_timeout', 504],
  ];
  it.each(failures)(
    'answers %s with %s, and tells the caller nothing of the provider',
    async (behaviour, code, status) => {
      fake.behaviour = behaviour;
      await providers.generate({ ...request, model: 'no-such-model' }).catch(() => 'only loads the SDK');

      const isSlow = behaviour === 'hang' || behaviour === 'stall';
      const error = await failureOf(
        configured({ PROVIDER_TIMEOUT_SECONDS: isSlow ? 1 : 60 }).generate(request),
      );

      expect(error).toMatchObject({ code, status });
      expect(error.message).not.toMatch(/fake-|127\.0\.0\.1|quota|too long|internal|Sign in/);
      // The log gets the cause: the upstream's message, but neither the key nor the prompt.
      expect(error.cause).toBeInstanceOf(Error);
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(fake.apiKey);
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(prompt);
      expect(fake.requests).toHaveLength(2);
    },
  );

  it('passes the waiting time on when the provider sends one', async () => {
    fake.behaviour = 'rate_limited';
    expect((await failureOf(providers.generate(request))).retryAfterSeconds).toBe(7);

    fake.retryAfter = undefined;
    expect((await failureOf(providers.generate(request))).retryAfterSeconds).toBeUndefined();
  });

  it('takes a wrong key for a fault of ours and an unknown model for one of the caller', async () => {
    const wrongKey = configured(settingsOf[provider]('wrong', fake.baseUrl));

    expect(await failureOf(wrongKey.generate(request))).toMatchObject({ code: 'provider_error' });
    expect(await failureOf(providers.generate({ ...request, model: 'no-such-model' }))).toMatchObject({
      code: 'provider_rejected',
    });
  });

  it.each([
    { inputTokens: 0, outputTokens: 5 },
    { inputTokens: 5, outputTokens: 0 },
    { inputTokens: 1.5, outputTokens: 5 },
  ])('refuses an answer that would be free or uncountable: %j', async (counts) => {
    fake.answer = { text: 'free', ...counts };

    expect(await failureOf(providers.generate(request))).toMatchObject({ code: 'provider_error' });
  });

  it('answers with an empty text when the model gave none', async () => {
    fake.answer = { text: '', inputTokens: 5, outputTokens: 0 };

    expect(await providers.generate(request)).toMatchObject({ text: '', inputTokens: 5, outputTokens: 0 });
  });

  it('fails when nobody listens at the address', async () => {
    const gone = await FakeProvider.start(provider);
    await gone.close();

    const error = await failureOf(
      makeProviders(settingsOf[provider](gone.apiKey, gone.baseUrl)).generate(request),
    );

    expect(error).toMatchObject({ code: 'provider_error', status: 502 });
    expect(error.message).not.toContain('127.0.0.1');
  });

  it('takes a base URL with slashes at its end', async () => {
    const slashed = configured(settingsOf[provider](fake.apiKey, `${fake.baseUrl}//`));

    expect(await slashed.generate(request)).toMatchObject({ text: 'The sea is wide.' });
  });

  it('is not available without a key', async () => {
    const error = await failureOf(makeProviders({}).generate(request));

    expect(error).toMatchObject({ code: 'provider_not_configured', status: 501 });
  });
});

it('keeps the warnings of the SDK off the console', async () => {
  await using fake = await FakeProvider.start('anthropic');
  const outlets = [jest.spyOn(process, 'emitWarning'), jest.spyOn(console, 'warn')];

  // More than this model can give: the SDK lowers it, and warns.
  await makeProviders(settingsOf.anthropic(fake.apiKey, fake.baseUrl)).generate({
    provider: 'anthropic',
    prompt,
    model: 'claude-haiku-4-5',
    maxTokens: 128_000,
  });

  expect(fake.requests[0]?.body).toMatchObject({ max_tokens: 64_000 });
  for (const outlet of outlets) expect(outlet).not.toHaveBeenCalled();
});

describe('provider echo', () => {
  it('answers with the prompt and counts its tokens', async () => {
    expect(await makeProviders({}).generate({ provider: 'echo', prompt, maxTokens: 1024 })).toEqual({
      text: prompt,
      provider: 'echo',
      model: 'echo',
      inputTokens: 7,
      outputTokens: 7,
      cachedTokens: 0,
    });
  });

  it('does not exist in production', async () => {
    const production = makeProviders({ isProduction: true });

    expect(await failureOf(production.generate({ provider: 'echo', prompt, maxTokens: 1 }))).toMatchObject({
      code: 'provider_not_configured',
      status: 501,
    });
  });
});
