import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { ApiKeyAccess } from '../common/access';
import { BodyLimit } from '../common/body-limit';
import { acceptCompiled } from '../common/compiled-input';
import { usdNumber } from '../common/money';
import { ApiProblems } from '../common/problem-docs';
import { LimitErrors } from '../limits/limits.errors';
import { TokensLimited } from '../limits/rate-limit.decorator';
import { CurrentCall, Metered, type MeteredCall } from '../usage/metered-call';
import { UsageErrors } from '../usage/usage.errors';
import { GenerateDto, GenerateResultDto } from './generate.dto';
import { GenerateErrors } from './generate.errors';
import { type Generation, mostOf, Providers } from './providers';

const BODY_BYTES_MAX = 1024 * 1024;

@ApiTags('Generate')
@Controller('generate')
export class GenerateController {
  constructor(private readonly providers: Providers) {}

  @Post()
  @HttpCode(200)
  @ApiKeyAccess('generate')
  @Metered('generate')
  @TokensLimited('generate-tokens', tokensAtMost)
  @BodyLimit(BODY_BYTES_MAX)
  @ApiOperation({
    summary: 'Ask a language model',
    description:
      'Metered: the answer leaves once its usage is written. A call that fails costs nothing. Under a budget or a quota, a call runs only while the most it can cost still fits.',
  })
  @ApiOkResponse({ type: GenerateResultDto, description: 'The answer and what it cost.' })
  @ApiProblems(
    ...Object.values(GenerateErrors),
    UsageErrors.budgetExceeded,
    UsageErrors.quotaExceeded,
    UsageErrors.ledgerBusy,
    LimitErrors.tokensAboveLimit,
  )
  async generate(@Body() body: GenerateDto, @CurrentCall() call: MeteredCall): Promise<GenerateResultDto> {
    const request = { ...body, maxTokens: body.max_tokens };
    await call.reserve(mostOf(request));
    const generation = await this.providers.generate(request);
    return toResult(generation, call.requestId, usdNumber(call.charge(generation, body.user_id)));
  }
}

/** Of a body that will be taken; any other uses none. */
function tokensAtMost(body: unknown): number {
  const dto = acceptCompiled(GenerateDto, body) as GenerateDto | undefined;
  if (!dto) return 0;
  const { inputTokens, outputTokens } = mostOf({ ...dto, maxTokens: dto.max_tokens });
  return inputTokens + outputTokens;
}

function toResult(
  { text, provider, model, inputTokens, outputTokens }: Generation,
  requestId: string,
  costUsd: number,
): GenerateResultDto {
  return {
    request_id: requestId,
    text,
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
