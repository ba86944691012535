import { ValidationPipe } from '@nestjs/common';
import fc from 'fast-check';
import type { ApiError } from '../common/api-error';
import { acceptCompiled } from '../common/compiled-input';
import { InputPipe } from '../common/input.pipe';
import { GenerateDto } from './generate.dto';

const valid = { user_id: 'customer-42', prompt: 'Hello', provider: 'echo' };
const read = (body: object) => new InputPipe().transform(body, { type: 'body', metatype: GenerateDto });

describe('input of generate', () => {
  it('allows 1024 tokens when nothing is said', async () => {
    expect(await read(valid)).toMatchObject({ ...valid, max_tokens: 1024 });
    expect(await read({ ...valid, max_tokens: 128_000 })).toMatchObject({ max_tokens: 128_000 });
  });

  it.each(['gpt-6-luna', 'ft:gpt-4.1:acme::Ab1', 'meta-llama/Llama-4@2', 'tunedModels/x_1'])(
    'takes the model %s',
    async (model) => {
      expect(await read({ ...valid, model })).toMatchObject({ model });
    },
  );

  it.each([
    ['user_id', ''],
    ['user_id', 'x'.repeat(256)],
    ['user_id', 42],
    ['prompt', ''],
    ['prompt', ['Hello']],
    ['provider', 'mistral'],
    ['provider', undefined],
    ['model', ''],
    ['model', null],
    ['model', '../files/x'],
    ['model', 'a/../../files'],
    ['model', 'x?key=1'],
    ['model', 'x%2f'],
    ['model', 'x'.repeat(129)],
    ['max_tokens', 0],
    ['max_tokens', 1.5],
    ['max_tokens', '256'],
    ['max_tokens', null],
    ['max_tokens', 128_001],
    ['stream', 'true'],
    ['stream', null],
    ['unknown', true],
  ])('refuses %s %j', async (field, value) => {
    const error = (await read({ ...valid, [field]: value }).catch((thrown: unknown) => thrown)) as ApiError;

    expect(error.code).toBe('validation_failed');
    expect(error.errors).toEqual([{ field, message: expect.any(String) as string }]);
  });
});

/** Nest's own pipe, with the settings of ours: what {@link GenerateDto} means by itself. */
const plain = new ValidationPipe({ whitelist: true, forbidNonWhitelisted: true, transform: true });

it('takes the same input, with the same result, compiled as by class-validator', async () => {
  const field = (good: unknown[], bad: unknown[]) =>
    fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom(...good) },
      { weight: 1, arbitrary: fc.constantFrom(...bad) },
      { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 1 }) },
    );
  const body = fc.record(
    {
      user_id: field(['customer-42', 'x'.repeat(255)], ['', 'x'.repeat(256)]),
      prompt: field(['Hello'], ['']),
      provider: field(['echo', 'gemini'], ['mistral']),
      model: field(['gpt-6-luna', undefined], ['../x', 'x'.repeat(129), null]),
      max_tokens: field([1, 128_000], [0, 128_001, 1.5, '1', undefined]),
    },
    { requiredKeys: ['user_id', 'prompt', 'provider'] },
  );
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(body, async (input) => {
      const compiled = acceptCompiled(GenerateDto, input);
      const usual: unknown = await plain
        .transform(input, { type: 'body', metatype: GenerateDto })
        .catch(() => undefined);
      accepted += compiled ? 1 : 0;
      expect(compiled).toEqual(usual);
      expect(compiled === undefined || compiled instanceof GenerateDto).toBe(true);
    }),
    { numRuns: 2_000 },
  );
  expect(accepted).toBeGreaterThan(200);
});
