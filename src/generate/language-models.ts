import type { OpenAIProvider } from '@ai-sdk/openai';
import type { Env } from '../config/env';

/** The providers of language models that are asked over the network. */
export type RemoteProvider = 'gemini' | 'openai' | 'anthropic';

/** Where a provider is and with which key: the settings of one provider, resolved. */
export interface ProviderAccess {
  readonly apiKey: string;
  /** Without a slash at its end. */
  readonly baseURL: string;
}

/** Makes the model of a name; the SDK sends its requests with the key and to the address it was made with. */
export type ModelFactory = (model: string) => ReturnType<OpenAIProvider['chat']>;

/**
 * The model that answers when the caller names none: of each provider the small, current one made for many calls.
 * A price belongs to each of them.
 */
export const defaultModels: Readonly<Record<RemoteProvider, string>> = {
  gemini: 'gemini-3.5-flash-lite',
  openai: 'gpt-6-luna',
  anthropic: 'claude-haiku-5-5',
};

/**
 * Base URLs follow the AI SDK: they hold everything before the operation, the version included.
 * Gemini gets `/models/{model}:generateContent`, OpenAI `/chat/completions` and Anthropic `/messages` appended.
 * They are always passed on, because the SDKs would else read the environment for themselves.
 */
const defaultBaseUrls: Readonly<Record<RemoteProvider, string>> = {
  gemini: 'https://generativelanguage.googleapis.com/v1beta',
  openai: 'https://api.openai.com/v1',
  anthropic: 'https://api.anthropic.com/v1',
};

/** The key and the address of a provider, or undefined when it has no key. */
export function providerAccess(env: Env, provider: RemoteProvider): ProviderAccess | undefined {
  const settings = {
    gemini: { apiKey: env.GEMINI_API_KEY, baseURL: env.GEMINI_BASE_URL },
    openai: { apiKey: env.OPENAI_API_KEY, baseURL: env.OPENAI_BASE_URL },
    anthropic: { apiKey: env.ANTHROPIC_API_KEY, baseURL: env.ANTHROPIC_BASE_URL },
  };
  const { apiKey, baseURL = defaultBaseUrls[provider] } = settings[provider];
  return apiKey ? { apiKey, baseURL: baseURL.replace(/\/+$/, '') } : undefined;
}

/**
 * Loads the SDK of a provider, about 20 to 50 ms, and binds it to an address and a key.
 * OpenAI is spoken to in its chat completions format, which every compatible server knows.
 */
export async function loadModels(provider: RemoteProvider, access: ProviderAccess): Promise<ModelFactory> {
  const settings = { ...access, fetch: fetchWithoutRedirects };
  switch (provider) {
    case 'gemini': {
      const { createGoogle } = await import('@ai-sdk/google');
      return createGoogle(settings);
    }
    case 'openai': {
      const { createOpenAI } = await import('@ai-sdk/openai');
      const openai = createOpenAI(settings);
      return (model) => openai.chat(model);
    }
    case 'anthropic': {
      const { createAnthropic } = await import('@ai-sdk/anthropic');
      return createAnthropic(settings);
    }
  }
}

/** A redirect would carry the prompt, and on the same host the key, to an address the operator never named. */
const fetchWithoutRedirects: typeof fetch = (input, init) => fetch(input, { ...init, redirect: 'manual' });
