import { Inject, Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { CommonErrors } from '../common/common.errors';
import { Clock } from '../common/clock';
import { ENV, type Env } from '../config/env';
import { Jobs } from '../platform/jobs/jobs';
import { BillingErrors } from './billing.errors';
import { aboutCustomerSchema, envelopeSchema, type PolarEnvelope } from './polar-schemas';
import { isSignedByPolar, type SignatureHeaders } from './polar-signature';
import { APPLY_JOB } from './webhook-release';

const WEBHOOK_ID_CHARS_MAX = 200;

/** The time as text: a `Date` would round Polar's microseconds, and two facts would seem to be one. */
const STORE_SQL = `
  INSERT INTO billing_events (id, webhook_id, type, object_id, event_at, received_at, polar_customer_id, status, payload)
  VALUES ($1, $2, $3, $4, $5::text::timestamptz, $6, $7, 'received', $8)
  ON CONFLICT DO NOTHING RETURNING id`;

/** Takes deliveries in: checked, stored once, and done later. */
@Injectable()
export class WebhooksService {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly jobs: Jobs,
    @Inject(ENV) private readonly env: Env,
  ) {}

  /**
   * Stores a delivery, with the job that applies it. One that was stored before changes nothing, also under another id.
   * @throws ApiError `billing_not_configured`, `invalid_webhook_signature`, `malformed_request`.
   */
  async receive(body: unknown, headers: SignatureHeaders): Promise<void> {
    const { POLAR_API_KEY, POLAR_WEBHOOK_SECRET: secrets } = this.env;
    if (!POLAR_API_KEY || !secrets) throw BillingErrors.notConfigured();
    const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
    if (!isSignedByPolar(bytes, headers, secrets, this.clock.nowMs())) throw BillingErrors.badSignature();
    if ((headers.id?.length ?? 0) > WEBHOOK_ID_CHARS_MAX) throw CommonErrors.malformedRequest();

    const text = bytes.toString('utf8');
    const { type, timestamp, data } = readEnvelope(text);
    const about = aboutCustomerSchema.safeParse(data).data;
    const isCustomer = type.startsWith('customer.');
    const polarCustomerId = (isCustomer ? about?.id : (about?.customer_id ?? about?.customer?.id)) ?? null;
    const id = uuidv7();
    await this.db.transaction(async (tx) => {
      const stored = await tx.query<unknown[]>(STORE_SQL, [
        id,
        headers.id,
        type,
        about?.id ?? '',
        timestamp,
        this.clock.now(),
        polarCustomerId,
        text,
      ]);
      if (stored.length > 0) await this.jobs.send(APPLY_JOB, { id }, tx);
    });
  }
}

/** @throws ApiError `malformed_request`. */
function readEnvelope(text: string): PolarEnvelope {
  try {
    return envelopeSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw CommonErrors.malformedRequest.with({ cause });
  }
}
