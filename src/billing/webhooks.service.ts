import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { CommonErrors } from '../common/common.errors';
import { Clock } from '../common/clock';
import { ENV, type Env } from '../config/env';
import { Jobs } from '../platform/jobs/jobs';
import { GroupCommit } from '../usage/group-commit';
import { isDataError } from '../usage/write-errors';
import { BillingErrors } from './billing.errors';
import { aboutCustomerSchema, envelopeSchema, type PolarEnvelope } from './polar-schemas';
import { isSignedByPolar, type SignatureHeaders } from './polar-signature';
import { APPLY_JOB } from './webhook-release';

const WEBHOOK_ID_CHARS_MAX = 200;

/**
 * Times are text: a `Date` would round Polar's microseconds, and two facts would seem to be one. In the order of their
 * ids, so that two processes that store the same deliveries do not wait for each other.
 */
const STORE_SQL = `
  INSERT INTO billing_events (id, webhook_id, type, object_id, event_at, received_at, polar_customer_id, status, payload)
  SELECT id, webhook_id, type, object_id, event_at::timestamptz, $8, polar_customer_id, 'received', payload
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
    AS delivery (id, webhook_id, type, object_id, event_at, polar_customer_id, payload)
  ORDER BY webhook_id
  ON CONFLICT DO NOTHING RETURNING id`;

/** One delivery, as it is stored. */
interface Arrival {
  readonly id: string;
  readonly webhookId: string;
  readonly type: string;
  readonly objectId: string;
  readonly eventAt: string;
  readonly polarCustomerId: string | null;
  readonly payload: string;
}

/** Takes deliveries in: checked, stored once, and done later. */
@Injectable()
export class WebhooksService implements OnApplicationShutdown {
  private readonly arrivals = new GroupCommit<Arrival>(
    (batch) => this.store(batch),
    isDataError,
    CommonErrors.unavailable,
  );

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly jobs: Jobs,
    @Inject(ENV) private readonly env: Env,
  ) {}

  /**
   * Stores a delivery, with the job that applies it. One that was stored before changes nothing, also under another id.
   * @throws ApiError `billing_not_configured`, `invalid_webhook_signature`, `malformed_request`; `service_unavailable` when
   * too many wait to be stored: Polar sends them again.
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
    await this.arrivals.add({
      id: uuidv7(),
      webhookId: headers.id ?? '',
      type,
      objectId: about?.id ?? '',
      eventAt: timestamp,
      polarCustomerId,
      payload: text,
    });
  }

  /** What was taken in is stored before the connections close. */
  async onApplicationShutdown(): Promise<void> {
    await this.arrivals.drained();
  }

  /** Polar sends in bursts: what comes together shares a transaction. */
  private async store(arrivals: readonly Arrival[]): Promise<[]> {
    const column = (name: keyof Arrival): (string | null)[] => arrivals.map((arrival) => arrival[name]);
    await this.db.transaction(async (tx) => {
      const stored = await tx.query<{ id: string }[]>(STORE_SQL, [
        column('id'),
        column('webhookId'),
        column('type'),
        column('objectId'),
        column('eventAt'),
        column('polarCustomerId'),
        column('payload'),
        this.clock.now(),
      ]);
      await this.jobs.sendAll(
        APPLY_JOB,
        stored.map(({ id }) => ({ id })),
        tx,
      );
    });
    return [];
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
