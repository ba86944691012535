import { defineError } from '../../common/api-error';

/** As the IETF draft has them (draft-ietf-httpapi-idempotency-key-header-07, 2.7). */
export const IdempotencyErrors = {
  invalidKey: defineError({
    code: 'invalid_idempotency_key',
    status: 400,
    title: 'Invalid Idempotency-Key',
    detail: 'Send "Idempotency-Key" once, with a text of 1 to 255 ASCII characters in double quotes.',
  }),
  stillRunning: defineError({
    code: 'idempotent_request_running',
    status: 409,
    title: 'First request still running',
    detail: 'A request with this Idempotency-Key is still running. Ask again shortly for its answer.',
  }),
  keyReused: defineError({
    code: 'idempotency_key_reused',
    status: 422,
    title: 'Idempotency-Key used for another request',
    detail:
      'This Idempotency-Key was used for another route or another body. Nothing was done. Use a new key for a new request.',
  }),
};
