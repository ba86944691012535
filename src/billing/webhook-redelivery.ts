import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';
import { PolarClient } from './polar-client';
import { PolarFailure } from './polar-failure';

/** At the first look there is none before it. Polar keeps what it could not deliver for 90 days. */
const FIRST_LOOK_BACK_MS = 7 * 86_400_000;
/** What fails again fails a few times and not every hour for ever: ten such in a row switch the endpoint off. */
const OVERLAP_MS = 2 * 3_600_000;

/** Has Polar repeat the deliveries that it gave up and that are not stored here. */
@Injectable()
export class WebhookRedelivery {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly polar: PolarClient,
  ) {}

  /**
   * @param lastLook when this was done last; null: never.
   * @returns how many deliveries were asked for.
   */
  async askAgain(endpointId: string, lastLook: Date | null): Promise<number> {
    const sinceMs = lastLook ? lastLook.getTime() - OVERLAP_MS : this.clock.nowMs() - FIRST_LOOK_BACK_MS;
    const failed = new Set<string>();
    for await (const events of this.polar.failedWebhookEvents(endpointId, new Date(sinceMs))) {
      for (const { id, created_at: madeAt, is_archived: isArchived } of events)
        if (!isArchived && Date.parse(madeAt) >= sinceMs) failed.add(id);
    }
    const stored = await this.db.query<{ id: string }[]>(
      'SELECT webhook_id AS id FROM billing_events WHERE webhook_id = ANY($1)',
      [[...failed]],
    );
    for (const { id } of stored) failed.delete(id);
    let asked = 0;
    for (const id of failed) if (await this.askForOne(id)) asked += 1;
    return asked;
  }

  /** What Polar does not repeat, being gone or archived meanwhile, must not keep back the others. */
  private async askForOne(id: string): Promise<boolean> {
    try {
      await this.polar.redeliverWebhookEvent(id);
      return true;
    } catch (error) {
      if (error instanceof PolarFailure && (error.kind === 'not_found' || error.kind === 'refused'))
        return false;
      throw error;
    }
  }
}
