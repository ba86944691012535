import { defineError } from './api-error';
import { isServicePermission } from './service-permissions';

/** Errors any route can answer with. */
export const CommonErrors = {
  validationFailed: defineError({
    code: 'validation_failed',
    status: 400,
    title: 'Invalid input',
    detail: 'Some fields are missing, unknown or malformed; "errors" names each of them.',
  }),
  malformedRequest: defineError({
    code: 'malformed_request',
    status: 400,
    title: 'Malformed request',
    detail: 'The request could not be read: its path, headers or body are not well-formed.',
  }),
  authenticationRequired: defineError({
    code: 'authentication_required',
    status: 401,
    title: 'Authentication required',
    sample: ['an access token, in "Authorization: Bearer"; log in to get one'],
    detail: (how: string) => `This route needs ${how}.`,
  }),
  invalidCredentials: defineError({
    code: 'invalid_token',
    status: 401,
    title: 'Credential refused',
    detail: 'The access token or API key is not valid, or no longer. Log in again, or use another key.',
  }),
  forbidden: defineError({
    code: 'forbidden',
    status: 403,
    title: 'Forbidden',
    sample: ['the access token of an admin, in "Authorization: Bearer"'],
    detail: (what: string) => `This route needs ${what}.`,
  }),
  insufficientPermissions: defineError({
    code: 'insufficient_permissions',
    status: 403,
    title: 'Permission missing',
    sample: ['write'],
    detail: (permission: string) =>
      `This API key does not have the permission "${permission}". ${isServicePermission(permission) ? 'An admin grants it to a key of your own services: PUT /api/v1/admin/api-keys/{id}/permissions.' : 'Use a key that has it, or create one.'}`,
  }),
  reauthenticationRequired: defineError({
    code: 'reauthentication_required',
    status: 403,
    title: 'Second factor needed again',
    detail:
      'This asks for a two-factor code that was given in this session at most 10 minutes ago. Give one to POST /api/v1/auth/2fa/verify, then try again.',
  }),
  routeNotFound: defineError({
    code: 'route_not_found',
    status: 404,
    title: 'No such route',
    detail: 'There is nothing at this path for this method. Check both against the documentation of the API.',
  }),
  payloadTooLarge: defineError({
    code: 'payload_too_large',
    status: 413,
    title: 'Body too large',
    detail:
      'The body is larger than this route accepts: 2 MiB for POST /api/v1/usage/events; 1 MiB for POST to /api/v1/generate, /api/v1/keys/leaks, /api/v1/webhooks/polar and /api/v1/admin/api-keys/import; 128 KiB elsewhere. Send less, or several requests.',
  }),
  uriTooLong: defineError({
    code: 'uri_too_long',
    status: 414,
    title: 'Path too long',
    detail: 'The path or one of its parameters is longer than accepted.',
  }),
  unsupportedMediaType: defineError({
    code: 'unsupported_media_type',
    status: 415,
    title: 'Unsupported content type',
    detail: 'Send the body as JSON, with "Content-Type: application/json".',
  }),
  internal: defineError({
    code: 'internal_error',
    status: 500,
    title: 'Internal error',
    detail: 'Something went wrong on our side. Try again, and quote the request_id if it stays.',
  }),
  unavailable: defineError({
    code: 'service_unavailable',
    status: 503,
    title: 'Temporarily unavailable',
    detail: 'The service cannot do this at the moment. Try again shortly.',
  }),
};
