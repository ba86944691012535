import { defineError } from '../common/api-error';

export const ApiKeyErrors = {
  notFound: defineError({
    code: 'api_key_not_found',
    status: 404,
    title: 'API key not found',
    detail: 'You have no API key with this id.',
  }),
  nobodys: defineError({
    code: 'no_such_api_key',
    status: 404,
    title: 'No such API key',
    detail: 'There is no API key with this id.',
  }),
  versionNotFound: defineError({
    code: 'api_key_version_not_found',
    status: 404,
    title: 'No such old secret',
    detail: 'This key has no old secret with this id that still works. The current one ends with the key.',
  }),
  inactive: defineError({
    code: 'api_key_inactive',
    status: 409,
    title: 'API key inactive',
    detail: 'This key was deactivated or reported as leaked, which is for good. Create a new one.',
  }),
  tooManyVersions: defineError({
    code: 'too_many_api_key_versions',
    status: 409,
    title: 'Too many secrets',
    sample: [5],
    detail: (max: number) =>
      `${max} secrets of this key still work. End an old one first, or rotate with overlap_hours 0, which ends them all.`,
  }),
  unknownPermissions: defineError({
    code: 'unknown_permissions',
    status: 400,
    title: 'Unknown permission',
    sample: [['reed'], ['read', 'write', 'generate']],
    detail: (unknown: readonly string[], known: readonly string[]) =>
      `There is no permission ${unknown.map((name) => `"${name}"`).join(', ')}. Known are ${known.join(', ')}.`,
  }),
  expiresInThePast: defineError({
    code: 'expires_in_the_past',
    status: 400,
    title: 'Expiry in the past',
    detail: 'expires_at must be a moment in the future.',
  }),
  rateLimitAbovePlan: defineError({
    code: 'rate_limit_above_plan',
    status: 400,
    title: 'Rate limit above the plan',
    sample: [100, 'Free'],
    detail: (max: number, plan: string) =>
      `The plan ${plan} allows a key at most ${max} requests a minute. Ask for less, or change the plan.`,
  }),
  limitReached: defineError({
    code: 'api_key_limit_reached',
    status: 400,
    title: 'Too many API keys',
    sample: [5, 'Free'],
    detail: (max: number, plan: string) =>
      `The plan ${plan} allows ${max} active keys. Deactivate one, or change the plan.`,
  }),
  unknownKeyPrefix: defineError({
    code: 'unknown_key_prefix',
    status: 400,
    title: 'Unknown beginning of a key',
    sample: [['ctx_live_', 'ctx_test_', 'sk_live_']],
    detail: (known: readonly string[]) =>
      `Keys must begin with one of ${known.join(', ')}. The setting IMPORTED_KEY_PREFIXES says which others are taken.`,
  }),
  nobodysAddress: defineError({
    code: 'no_such_account',
    status: 400,
    title: 'No such account',
    detail: 'There is no account with this e-mail address. Its owner has to sign up first.',
  }),
  unprovenAddress: defineError({
    code: 'owner_not_verified',
    status: 400,
    title: 'Owner not verified',
    detail:
      'The account with this e-mail address has not proven that the address is its own, or is suspended. Keys go to their owner alone: ask him to verify his address first. POST /api/v1/auth/verify-email/resend mails him another link; an admin restores a suspended account.',
  }),
  prefixIsKey: defineError({
    code: 'key_prefix_is_whole_key',
    status: 400,
    title: 'The whole key as its prefix',
    detail:
      'key_prefix is stored readable. Send the first characters of the key only, as many as its owner needs to know it by.',
  }),
  emailNotVerified: defineError({
    code: 'email_not_verified',
    status: 403,
    title: 'E-mail address not verified',
    detail:
      'Verify your e-mail address first: open the link in the mail you got at sign-up, or ask for another mail with POST /api/v1/auth/verify-email/resend.',
  }),
};
