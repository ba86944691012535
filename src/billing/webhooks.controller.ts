import { Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiAcceptedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { SkipThrottle } from '@nestjs/throttler';
import type { FastifyRequest } from 'fastify';
import { Public } from '../common/access';
import { RawBody } from '../common/body-limit';
import { MessageDto } from '../common/message.dto';
import { ApiProblems } from '../common/problem-docs';
import { BillingErrors } from './billing.errors';
import type { SignatureHeaders } from './polar-signature';
import { WebhooksService } from './webhooks.service';

const BODY_BYTES_MAX = 1024 * 1024;

@ApiTags('Billing')
@Public()
@SkipThrottle()
@Controller('webhooks/polar')
export class WebhooksController {
  constructor(private readonly webhooks: WebhooksService) {}

  @Post()
  @HttpCode(202)
  @RawBody(BODY_BYTES_MAX)
  @ApiOperation({
    summary: 'Take a delivery of Polar',
    description:
      'Signed as Standard Webhooks says, over the bytes of the body. Stored once, applied behind the answer.',
  })
  @ApiAcceptedResponse({ type: MessageDto, description: 'Stored, now or before.' })
  @ApiProblems(BillingErrors.notConfigured, BillingErrors.badSignature)
  async receive(@Req() { body, headers }: FastifyRequest): Promise<MessageDto> {
    await this.webhooks.receive(body, signatureOf(headers));
    return { message: 'Accepted' };
  }
}

function signatureOf(headers: FastifyRequest['headers']): SignatureHeaders {
  const text = (name: string): string | undefined => headers[name]?.toString();
  return {
    id: text('webhook-id'),
    timestamp: text('webhook-timestamp'),
    signature: text('webhook-signature'),
  };
}
