import type { ApiError } from '../common/api-error';
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
    ['stream', true],
  ])('refuses %s %j', async (field, value) => {
    const error = (await read({ ...valid, [field]: value }).catch((thrown: unknown) => thrown)) as ApiError;

    expect(error.code).toBe('validation_failed');
    expect(error.errors).toEqual([{ field, message: expect.any(String) as string }]);
  });
});
