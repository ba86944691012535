import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsIn, IsInt, Length, Matches, Max, Min, ValidateIf } from 'class-validator';
import { CompiledInput } from '../common/compiled-input';
import { type GenerationEnd, type ProviderName, providerNames } from './providers';

/** The route takes bodies of 1 MiB, so no prompt that arrives is longer. */
const PROMPT_CHARS_MAX = 1_048_576;
const MAX_TOKENS_MAX = 128_000;
const MAX_TOKENS_DEFAULT = 1024;

/** Model names become part of a path at Gemini, so they cannot hold `..` or anything a URL gives a meaning to. */
const MODEL_NAME = /^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._:/@-]*$/;

@CompiledInput()
export class GenerateDto {
  @ApiProperty({
    minLength: 1,
    maxLength: 255,
    example: 'customer-42',
    description:
      'Your own name for the end user this call is for. It is kept with the usage record and is no identity here.',
  })
  @Length(1, 255)
  user_id!: string;

  @ApiProperty({
    minLength: 1,
    maxLength: PROMPT_CHARS_MAX,
    example: 'Write one sentence about the sea.',
    description: 'What the model is asked.',
  })
  @Length(1, PROMPT_CHARS_MAX)
  prompt!: string;

  @ApiProperty({
    enum: providerNames,
    example: 'echo',
    description:
      'Who answers. `echo` answers with the prompt, free of any network, and does not exist in production.',
  })
  @IsIn(providerNames)
  provider!: ProviderName;

  @ApiPropertyOptional({
    minLength: 1,
    maxLength: 128,
    pattern: MODEL_NAME.source,
    example: 'gpt-6-luna',
    description:
      "The provider's name of the model. Default: a small, current model of the provider, without hidden reasoning.",
  })
  @ValidateIf(({ model }: GenerateDto) => model !== undefined)
  @Length(1, 128)
  @Matches(MODEL_NAME, { message: 'model must be a model name, such as gpt-6-luna' })
  model?: string;

  @ApiPropertyOptional({
    type: 'integer',
    minimum: 1,
    maximum: MAX_TOKENS_MAX,
    default: MAX_TOKENS_DEFAULT,
    example: 256,
    description: 'Most tokens of the answer. Hidden reasoning of the model counts too.',
  })
  @IsInt()
  @Min(1)
  @Max(MAX_TOKENS_MAX)
  max_tokens: number = MAX_TOKENS_DEFAULT;

  @ApiPropertyOptional({
    default: false,
    example: false,
    description: 'Have the answer bit by bit, as server-sent events. Not together with an Idempotency-Key.',
  })
  @IsBoolean()
  stream: boolean = false;
}

export class GenerateUsageDto {
  @ApiProperty({
    type: 'integer',
    example: 8,
    description: 'Tokens of the input, as the provider counts them.',
  })
  input_tokens!: number;

  @ApiProperty({
    type: 'integer',
    example: 17,
    description: 'Tokens of the answer, hidden reasoning included.',
  })
  output_tokens!: number;

  @ApiProperty({ type: 'integer', example: 25, description: 'Both together: what is metered.' })
  total_tokens!: number;

  @ApiProperty({ type: Number, example: 0.0000093, description: 'Price of this call in US dollars.' })
  cost_usd!: number;
}

export class GenerateResultDto {
  @ApiProperty({
    format: 'uuid',
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d',
    description: 'Id of this call: in the usage log, in our log and in `X-Request-Id`.',
  })
  request_id!: string;

  @ApiProperty({
    example: 'The sea keeps its secrets in plain sight.',
    description: 'The answer; may be empty when the model gave none.',
  })
  text!: string;

  @ApiProperty({ enum: providerNames, example: 'openai', description: 'Who answered.' })
  provider!: ProviderName;

  @ApiProperty({ example: 'gpt-6-luna', description: 'The model that was asked, and whose price holds.' })
  model!: string;

  @ApiProperty({ type: GenerateUsageDto, description: 'What the call used and costs.' })
  usage!: GenerateUsageDto;
}

/** The last event of a streamed answer: all of {@link GenerateResultDto} but the text. */
export function toDone(
  { provider, model, inputTokens, outputTokens }: GenerationEnd,
  requestId: string,
  costUsd: number,
): Omit<GenerateResultDto, 'text'> {
  return {
    request_id: requestId,
    provider,
    model,
    usage: {
      input_tokens: inputTokens,
      output_tokens: outputTokens,
      total_tokens: inputTokens + outputTokens,
      cost_usd: costUsd,
    },
  };
}
