import { ApiProperty } from '@nestjs/swagger';
import { PaginationDto } from '../../common/pagination';
import type { ReadEvent } from './audit';
import { type AuditAction, auditActionNames } from './audit-actions';
import type { AuditWords } from './audit-details.entity';
import type { AuditResult } from './audit-event.entity';

const actors = ['self', 'admin', 'system', 'unknown'] as const;

/** What every reader of an event is shown. */
class EventDto {
  @ApiProperty({
    format: 'uuid',
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d',
    description: 'Id of the event.',
  })
  id!: string;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z', description: 'When it happened.' })
  occurred_at!: string;

  @ApiProperty({ enum: auditActionNames, example: 'user.login', description: 'What happened.' })
  action!: AuditAction;

  @ApiProperty({ enum: ['success', 'failure'], example: 'success', description: 'How it ended.' })
  result!: AuditResult;

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3e',
    description: 'What it was done to, when not the account as a whole: a session, an API key.',
  })
  target_id!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3f',
    description: 'The request that did it; null: no request.',
  })
  request_id!: string | null;

  @ApiProperty({ type: String, nullable: true, example: '203.0.113.7', description: 'From which address.' })
  ip_address!: string | null;

  @ApiProperty({ type: String, nullable: true, example: 'curl/8.5.0', description: 'With which program.' })
  user_agent!: string | null;

  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'string', nullable: true },
    example: { name: 'My API Key' },
    description: 'What else there is to say.',
  })
  details!: AuditWords;
}

/** An event as its account's owner is shown it: where somebody else was when he acted is not his to know. */
export class OwnEventDto extends EventDto {
  @ApiProperty({
    enum: actors,
    example: 'self',
    description: 'Who did it; `unknown`: somebody who had not logged in, as at sign-up.',
  })
  actor!: (typeof actors)[number];

  static from(this: void, event: ReadEvent): OwnEventDto {
    const actor = actorSeenBySubject(event);
    const isOther = actor === 'admin' || actor === 'system';
    return Object.assign(toEventDto(event), {
      actor,
      ...(isOther && { request_id: null, ip_address: null, user_agent: null }),
    });
  }
}

/** An event as an admin is shown it. */
export class AuditEventDto extends EventDto {
  @ApiProperty({
    type: String,
    nullable: true,
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b40',
    description: 'The id of the user who did it, or `system`; null: somebody who had not logged in.',
  })
  actor!: string | null;

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b40',
    description: 'Whose account it is about.',
  })
  subject_id!: string | null;

  static from(this: void, event: ReadEvent): AuditEventDto {
    return Object.assign(toEventDto(event), { actor: event.actor, subject_id: event.subjectId });
  }
}

export class OwnEventsDto {
  @ApiProperty({ type: [OwnEventDto], description: 'Newest first.' })
  data!: OwnEventDto[];

  @ApiProperty({ type: PaginationDto, description: 'How the list goes on.' })
  pagination!: PaginationDto;
}

export class AuditEventsDto {
  @ApiProperty({ type: [AuditEventDto], description: 'Newest first.' })
  data!: AuditEventDto[];

  @ApiProperty({ type: PaginationDto, description: 'How the list goes on.' })
  pagination!: PaginationDto;
}

function toEventDto({ personal, ...event }: ReadEvent): EventDto {
  return {
    id: event.id,
    occurred_at: event.occurredAt.toISOString(),
    action: event.action,
    result: event.result,
    target_id: event.targetId,
    request_id: event.requestId,
    ip_address: personal?.ip ?? null,
    user_agent: personal?.userAgent ?? null,
    details: personal?.details ?? {},
  };
}

function actorSeenBySubject({ actor, subjectId }: ReadEvent): (typeof actors)[number] {
  if (actor === null) return 'unknown';
  if (actor === subjectId) return 'self';
  return actor === 'system' ? 'system' : 'admin';
}
