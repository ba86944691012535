import { setImmediate as otherWork } from 'node:timers/promises';

/**
 * The tokenizer merges a run without spaces in quadratic time, so text is tokenized in windows: a window of the worst
 * kind takes 2 to 5 ms, and other work runs between two of them.
 */
const WINDOW_CHARS = 1024;

/** Makes `<|endoftext|>` in a prompt ordinary text instead of an error. */
const PLAIN_TEXT = { disallowedSpecial: new Set<string>() };

interface Tokenizer {
  encode(text: string): number[];
  /** Length of a token in UTF-8 bytes. */
  byteLength(token: number): number;
}

/**
 * A provider for development and tests that answers with the prompt, cut to `maxTokens` tokens: same input, same
 * answer, no network. Tokens are those of `gpt-tokenizer`'s `r50k_base`, the encoding that takes the least memory.
 * Up to 1,024 characters, and in text with spaces, the count is exactly the tokenizer's; a run without any space is
 * cut at every 1,024 characters first, which may count a token more for each cut.
 */
export class EchoProvider {
  private tokenizer?: Promise<Tokenizer>;

  /** @param maxTokens most tokens of the answer; a character whose bytes do not all fit is left out. */
  async generate(
    prompt: string,
    maxTokens: number,
  ): Promise<{ text: string; inputTokens: number; outputTokens: number }> {
    const parts = this.parts(prompt, maxTokens);
    let text = '';
    let next = await parts.next();
    for (; !next.done; next = await parts.next()) text += next.value;
    return { text, ...next.value };
  }

  /** The same word by word; ends with the counts. @throws the signal's reason when it is aborted meanwhile. */
  async *stream(
    prompt: string,
    maxTokens: number,
    signal: AbortSignal,
  ): AsyncGenerator<string, { inputTokens: number; outputTokens: number }> {
    const parts = this.parts(prompt, maxTokens, signal);
    let next = await parts.next();
    for (; !next.done; next = await parts.next()) yield* next.value.split(/(?<= )/);
    return next.value;
  }

  /** The answer window by window. */
  private async *parts(
    prompt: string,
    maxTokens: number,
    signal?: AbortSignal,
  ): AsyncGenerator<string, { inputTokens: number; outputTokens: number }> {
    this.tokenizer ??= loadTokenizer();
    const tokenizer = await this.tokenizer;
    let inputTokens = 0;

    for (const [start, end] of windows(prompt)) {
      if (start > 0) await otherWork();
      signal?.throwIfAborted();
      const window = prompt.slice(start, end);
      const tokens = tokenizer.encode(window);
      const room = maxTokens - inputTokens;
      if (tokens.length <= room) yield window;
      else if (room > 0) yield textOfTokens(window, tokens.slice(0, room), tokenizer);
      inputTokens += tokens.length;
    }
    return { inputTokens, outputTokens: Math.min(inputTokens, maxTokens) };
  }
}

/** About 90 ms and 27 MB, once, when echo is first used. */
async function loadTokenizer(): Promise<Tokenizer> {
  const [{ encode, setMergeCacheSize }, { default: bytesOfTokens }] = await Promise.all([
    import('gpt-tokenizer/encoding/r50k_base'),
    import('gpt-tokenizer/bpeRanks/r50k_base'),
  ]);
  // The cache would keep up to 100,000 pieces of callers' prompts.
  setMergeCacheSize(0);
  return {
    encode: (text) => encode(text, PLAIN_TEXT),
    byteLength: (token) => {
      const bytes = bytesOfTokens[token] ?? '';
      return typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length;
    },
  };
}

/** The windows of a text, each from a first to behind a last character. */
function* windows(text: string): Generator<[start: number, end: number]> {
  for (let start = 0; start < text.length;) {
    const end = windowEnd(text, start);
    yield [start, end];
    start = end;
  }
}

/** Cuts before a space, where the tokenizer begins a new token anyway, else at the limit but not within a character. */
function windowEnd(text: string, start: number): number {
  const limit = start + WINDOW_CHARS;
  if (limit >= text.length) return text.length;
  const space = text.slice(start, limit + 1).lastIndexOf(' ');
  if (space > 0) return start + space;
  const splitsPair = (text.charCodeAt(limit) & 0xfc00) === 0xdc00;
  return splitsPair ? limit - 1 : limit;
}

/** The text of the first tokens of a window; the tokenizer's own decoder would keep half characters for its next call. */
function textOfTokens(window: string, tokens: readonly number[], tokenizer: Tokenizer): string {
  const bytes = tokens.reduce((sum, token) => sum + tokenizer.byteLength(token), 0);
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.from(window).subarray(0, bytes), {
    stream: true,
  });
}
