import { applyDecorators, SetMetadata } from '@nestjs/common';
import { CommonErrors } from './common.errors';
import type { UserPrincipal } from './principal';
import { ApiProblems } from './problem-docs';

export const RECENT_SECOND_FACTOR_METADATA = 'cortex:recent-second-factor';

/** So long a second factor counts as given just now. */
const RECENT_MS = 10 * 60 * 1_000;

/** With two-factor authentication on, a route that asks for a code given in this session a short time ago; read by AuthGuard. */
export const RecentSecondFactor = (): MethodDecorator =>
  applyDecorators(
    SetMetadata(RECENT_SECOND_FACTOR_METADATA, true),
    ApiProblems(CommonErrors.reauthenticationRequired),
  );

/** Whether a user has given a second factor a short time ago, or need not. */
export function hasRecentSecondFactor(
  { twoFactorEnabled, secondFactorAt }: UserPrincipal,
  nowMs: number,
): boolean {
  return !twoFactorEnabled || (secondFactorAt !== null && nowMs - secondFactorAt.getTime() <= RECENT_MS);
}
