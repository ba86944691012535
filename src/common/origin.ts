import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

const USER_AGENT_LENGTH_MAX = 500;

/** Where a request came from: for sessions, mails and the audit log. */
export interface RequestOrigin {
  readonly requestId: string;
  readonly ip: string;
  readonly userAgent: string | null;
}

/** Injects the {@link RequestOrigin}. */
export const Origin = createParamDecorator((_data: unknown, context: ExecutionContext) =>
  originOf(context.switchToHttp().getRequest<FastifyRequest>()),
);

/** The {@link RequestOrigin} of a request. */
export function originOf({ id, ip, headers }: FastifyRequest): RequestOrigin {
  return { requestId: id, ip, userAgent: headers['user-agent']?.slice(0, USER_AGENT_LENGTH_MAX) ?? null };
}
