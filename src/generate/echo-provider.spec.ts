import { countTokens } from 'gpt-tokenizer/encoding/r50k_base';
import { EchoProvider } from './echo-provider';

const echo = new EchoProvider();

describe('echo', () => {
  it('cuts the answer to the tokens allowed, and counts the whole input', async () => {
    expect(await echo.generate('one two three four five', 3)).toEqual({
      text: 'one two three',
      inputTokens: 5,
      outputTokens: 3,
    });
  });

  it('never answers with half a character', async () => {
    const prompt = '\ufeffÅ🌊👩‍🚀漢字';
    const { inputTokens, text } = await echo.generate(prompt, 1000);
    expect(text).toBe(prompt);

    for (let maxTokens = 1; maxTokens <= inputTokens; maxTokens += 1) {
      const cut = await echo.generate(prompt, maxTokens);
      expect(prompt.startsWith(cut.text)).toBe(true);
      expect(cut.text.isWellFormed()).toBe(true);
      expect(cut.outputTokens).toBe(maxTokens);
    }
    expect(await echo.generate('one two', 1)).toMatchObject({ text: 'one' });
  });

  it('takes what looks like a special token for text', async () => {
    const prompt = '<|endoftext|> and on';

    expect(await echo.generate(prompt, 100)).toMatchObject({ text: prompt });
  });

  it('counts long prose as the tokenizer counts it whole, and cuts it at a token', async () => {
    const prose = "It's 1,024 words: naïve   spacing,\n\tand a new line. ".repeat(200);

    expect(await echo.generate(prose, 10_000)).toMatchObject({
      text: prose,
      inputTokens: countTokens(prose),
    });
    const { text } = await echo.generate(prose, 1500);
    expect(prose.startsWith(text)).toBe(true);
    expect(countTokens(text)).toBe(1500);
  });

  it('lets other work run while it counts a prompt made to be slow', async () => {
    let turns = 0;
    let isDone = false;
    const otherWork = (): void => {
      turns += 1;
      if (!isDone) setImmediate(otherWork);
    };
    setImmediate(otherWork);

    const { inputTokens } = await echo.generate('a'.repeat(102_400), 1);
    isDone = true;

    expect(inputTokens).toBeGreaterThan(10_000);
    expect(turns).toBeGreaterThanOrEqual(99);
  });

  it('stops when its caller has gone', async () => {
    const reason = new Error('The caller has gone.');
    const caller = new AbortController();
    const pieces = echo.stream('a'.repeat(1_000_000), 1, caller.signal);
    const answer = pieces.next().catch((thrown: unknown) => thrown);

    caller.abort(reason);

    expect(await answer).toBe(reason);
  });
});
