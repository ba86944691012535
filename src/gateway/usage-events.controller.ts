import { Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiExtraModels, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { ApiKeyAccess } from '../common/access';
import { CLOUD_EVENT, CLOUD_EVENTS, RawBody } from '../common/body-limit';
import { type ApiKeyPrincipal, CurrentPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { UsageErrors } from '../usage/usage.errors';
import { eventBodies } from './cloud-event.docs';
import { readEvents } from './event-reader';
import { EventReportDto, ServedCallDto, UsageEventDto } from './usage-events.dto';
import { UsageEventsService } from './usage-events.service';

const BODY_BYTES_MAX = 2 * 1024 * 1024;

@ApiTags('Gateway')
@Controller('usage/events')
export class UsageEventsController {
  constructor(private readonly events: UsageEventsService) {}

  @Post()
  @HttpCode(200)
  @ApiKeyAccess('usage:write')
  @RawBody(BODY_BYTES_MAX, ['application/json', CLOUD_EVENT, CLOUD_EVENTS])
  @ApiExtraModels(UsageEventDto, ServedCallDto)
  @ApiOperation({
    summary: 'Report usage that your own backend has served',
    description:
      'Up to 1,000 events, of your own form or CloudEvents 1.0. Each is told by itself what became of it, and one that is wrong does not refuse the others. An event is booked once for ever, so when an answer is lost, send the same again: `duplicate` is a success. The answer leaves after the commit.',
    requestBody: { required: true, content: eventBodies },
  })
  @ApiOkResponse({ type: EventReportDto, description: 'What became of each event.' })
  @ApiProblems(UsageErrors.ledgerBusy)
  async report(
    @CurrentPrincipal() { userId }: ApiKeyPrincipal,
    @Req() { headers, body }: FastifyRequest,
  ): Promise<EventReportDto> {
    return EventReportDto.from(
      await this.events.report(userId, readEvents(mediaTypeOf(headers), body as Buffer)),
    );
  }
}

function mediaTypeOf(headers: FastifyRequest['headers']): string {
  return (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}
