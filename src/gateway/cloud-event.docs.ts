import { type ApiBodyOptions, getSchemaPath } from '@nestjs/swagger';
import { CLOUD_EVENT, CLOUD_EVENTS } from '../common/body-limit';
import { EVENTS_MAX } from './event-reader';
import { ServedCallDto, UsageEventDto } from './usage-events.dto';

type Schema = Extract<ApiBodyOptions, { schema: object }>['schema'];

const ID = '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d';

const example = {
  specversion: '1.0',
  id: 'search-7f3a',
  source: 'https://search.example.com',
  type: 'memory.search',
  time: '2026-11-22T05:26:00Z',
  subject: ID,
  data: { input_tokens: 120, output_tokens: 230 },
};

const cloudEvent: Schema = {
  type: 'object',
  description: 'A CloudEvent 1.0; extension attributes are left alone.',
  required: ['specversion', 'id', 'source', 'type'],
  properties: {
    specversion: { type: 'string', enum: ['1.0'] },
    id: { type: 'string', minLength: 1, maxLength: 255 },
    source: { type: 'string', minLength: 1, maxLength: 255 },
    type: { type: 'string', description: 'The operation.' },
    time: { type: 'string', format: 'date-time' },
    subject: { type: 'string', format: 'uuid', description: 'The `user_id`, where `data` names none.' },
    data: { $ref: getSchemaPath(ServedCallDto) },
  },
};

const anything: Schema = { description: 'Told as `invalid`.' };

/** What `POST /usage/events` takes, by media type, as the OpenAPI document shows it. */
export const eventBodies = {
  'application/json': {
    schema: {
      type: 'object',
      required: ['events'],
      additionalProperties: false,
      properties: {
        events: {
          type: 'array',
          minItems: 1,
          maxItems: EVENTS_MAX,
          description: 'Events of either form; what is neither is told apart as `invalid`.',
          items: { anyOf: [{ $ref: getSchemaPath(UsageEventDto) }, cloudEvent, anything] },
          example: [
            {
              id: 'search-7f3a',
              source: 'https://search.example.com',
              operation: 'memory.search',
              user_id: ID,
              input_tokens: 120,
              output_tokens: 230,
            },
          ],
        },
      },
    },
  },
  [CLOUD_EVENT]: { schema: cloudEvent, example },
  [CLOUD_EVENTS]: { schema: { type: 'array', items: cloudEvent }, example: [example] },
};
