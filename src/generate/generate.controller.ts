import { Body, Controller, HttpCode, Post, Res, StreamableFile } from '@nestjs/common';
import { ApiExtraModels, ApiOkResponse, ApiOperation, ApiTags, getSchemaPath } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { ApiKeyAccess } from '../common/access';
import { BodyLimit } from '../common/body-limit';
import { acceptCompiled } from '../common/compiled-input';
import { EVENT_STREAM } from '../common/event-stream';
import { usdNumber } from '../common/money';
import { ApiProblems } from '../common/problem-docs';
import { LimitErrors } from '../limits/limits.errors';
import { TokensLimited } from '../limits/rate-limit.decorator';
import { Metered, type MeteredCall } from '../usage/metered-call';
import { UsageInterceptor } from '../usage/usage.interceptor';
import { UsageErrors } from '../usage/usage.errors';
import { GenerateDto, GenerateResultDto, toDone } from './generate.dto';
import { GenerateErrors } from './generate.errors';
import { GenerationStreams } from './generation-streams';
import { mostOf, Providers } from './providers';

const BODY_BYTES_MAX = 1024 * 1024;

const EVENTS_EXAMPLE = `event: text
data: {"text":"The sea keeps "}

event: text
data: {"text":"its secrets."}

event: done
data: {"request_id":"019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d","provider":"openai","model":"gpt-6-luna","usage":{"input_tokens":8,"output_tokens":17,"total_tokens":25,"cost_usd":0.0000093}}

`;

@ApiTags('Generate')
@Controller('generate')
export class GenerateController {
  constructor(
    private readonly providers: Providers,
    private readonly streams: GenerationStreams,
    private readonly usage: UsageInterceptor,
  ) {}

  @Post()
  @HttpCode(200)
  @ApiKeyAccess('generate')
  @Metered()
  @TokensLimited('generate-tokens', tokensAtMost)
  @BodyLimit(BODY_BYTES_MAX)
  @ApiOperation({
    summary: 'Ask a language model',
    description:
      'Metered: the answer leaves once its usage is written. A call that fails costs nothing. Under a budget or a quota, a call runs only while the most it can cost still fits. With `stream` the answer comes as server-sent events: `text` for each piece, then `done` with what it used and costs, or `error` with a problem (RFC 9457). When you leave before the end, what had come by then is charged, by an estimate.',
  })
  @ApiExtraModels(GenerateResultDto)
  @ApiOkResponse({
    description: 'The answer and what it cost.',
    content: {
      'application/json': { schema: { $ref: getSchemaPath(GenerateResultDto) } },
      'text/event-stream': { schema: { type: 'string' }, example: EVENTS_EXAMPLE },
    },
  })
  @ApiProblems(
    ...Object.values(GenerateErrors),
    UsageErrors.budgetExceeded,
    UsageErrors.quotaExceeded,
    UsageErrors.ledgerBusy,
    LimitErrors.tokensAboveLimit,
  )
  generate(
    @Body() body: GenerateDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<GenerateResultDto | StreamableFile> {
    return this.usage.intercept<GenerateResultDto | StreamableFile>('generate', reply, (call) =>
      body.stream ? this.stream(body, call, reply) : this.answer(body, call),
    );
  }

  private async answer(body: GenerateDto, call: MeteredCall): Promise<GenerateResultDto> {
    const request = { ...body, maxTokens: body.max_tokens };
    await call.reserve(mostOf(request));
    const generation = await this.providers.generate(request);
    const costUsd = usdNumber(call.charge(generation, body.user_id));
    const { request_id, ...rest } = toDone(generation, call.requestId, costUsd);
    return { request_id, text: generation.text, ...rest };
  }

  private async stream(body: GenerateDto, call: MeteredCall, reply: FastifyReply): Promise<StreamableFile> {
    if (reply.request.headers['idempotency-key'] !== undefined) throw GenerateErrors.streamNotRepeatable();
    const request = { ...body, maxTokens: body.max_tokens };
    const events = await this.streams.open(call, request, body.user_id, reply);
    // nginx would gather them.
    void reply.header('x-accel-buffering', 'no');
    return new StreamableFile(events, { type: EVENT_STREAM });
  }
}

/** Of a body that will be taken; any other uses none. */
function tokensAtMost(body: unknown): number {
  const dto = acceptCompiled(GenerateDto, body) as GenerateDto | undefined;
  if (!dto) return 0;
  const { inputTokens, outputTokens } = mostOf({ ...dto, maxTokens: dto.max_tokens });
  return inputTokens + outputTokens;
}
