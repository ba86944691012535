import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';
import { LOG } from '../common/log-token';
import { parseUsd } from '../common/money';
import { Mailer } from '../platform/mail/mailer';
import { alertPercentage, type Capped, type Caps, monthOf } from './caps';
import type { CapMonth, Closing } from './close-statement';
import type { Opening } from './open-statement';
import { ALERT_MAILS } from './usage.mails';

/** From here on, a call that does not fit any more means that the cap is used up. */
const NEARLY_USED_PERCENTAGE = 80;

const TOLD_MAX = 10_000;

const NOTE_SQL = {
  budget: `UPDATE usage_months SET budget_alert = $4
           WHERE user_id = $1 AND scope_id = $2 AND month = $3 AND budget_alert < $4 RETURNING 1`,
  quota: `UPDATE usage_months SET quota_alert = $4
          WHERE user_id = $1 AND scope_id = $2 AND month = $3 AND quota_alert < $4 RETURNING 1`,
};

/** A cap of which a part is used that its owner wants to know about. */
interface Alert {
  readonly kind: 'budget' | 'quota';
  readonly userId: string;
  readonly scopeId: string;
  readonly month: string;
  readonly percentage: number;
}

/** Tells owners when 50, 80 and 100 per cent of a budget or of the plan's tokens are used, each once a month. */
@Injectable()
export class Alerts {
  /** What this process has told or is telling: of a cap that is used up every further call would ask the database again. */
  private readonly told = new Set<string>();

  constructor(
    private readonly db: EntityManager,
    private readonly mailer: Mailer,
    private readonly clock: Clock,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  /** Looks at the months that a batch has changed. Nobody waits for the mails; the next batch sees what was missed. */
  look(months: readonly CapMonth[], closings: readonly Closing[]): void {
    if (months.length === 0) return;
    const capped = closings.flatMap((closing) => closing.capped ?? []);
    for (const month of months) {
      for (const alert of dueOf(month, capped)) this.send(alert);
    }
  }

  /** A call was refused: when most of the cap is settled, it is as good as used up. */
  refused(cap: keyof Caps, { caps, userId, apiKeyId, month }: Opening, settled: bigint): void {
    if (alertPercentage(settled, caps[cap] ?? 0n) < NEARLY_USED_PERCENTAGE) return;
    this.send({
      kind: cap === 'tokens' ? 'quota' : 'budget',
      userId,
      scopeId: cap === 'apiKeyUsd' && apiKeyId !== null ? apiKeyId : userId,
      month,
      percentage: 100,
    });
  }

  private send(alert: Alert): void {
    const { kind, scopeId, month, percentage } = alert;
    // Reports may come late: of a month that is over nothing is refused any more.
    if (month !== monthOf(this.clock.now())) return;
    const name = `${kind} ${scopeId} ${month} ${percentage}`;
    if (this.told.has(name)) return;
    if (this.told.size >= TOLD_MAX) this.told.clear();
    this.told.add(name);
    this.note(alert).catch((error: unknown) => {
      this.told.delete(name);
      this.log.error({ err: error, user_id: alert.userId }, 'usage alert not sent');
    });
  }

  /** Of all who see it, the one who raises the mark sends the mail. */
  private async note({ kind, userId, scopeId, month, percentage }: Alert): Promise<void> {
    await this.db.transaction(async (tx) => {
      const [noted] = await tx.query<[unknown[], number]>(NOTE_SQL[kind], [
        userId,
        scopeId,
        month,
        percentage,
      ]);
      if (noted.length === 0) return;
      await this.mailer.send(ALERT_MAILS[kind], { userId, scopeId, month, percentage: `${percentage}` }, tx);
    });
  }
}

/** The marks that a month has passed and not been told of. */
function dueOf(month: CapMonth, capped: readonly Capped[]): Alert[] {
  const owner = capped.find(
    ({ userId, apiKeyId }) => month.scope_id === userId || month.scope_id === apiKeyId,
  );
  if (!owner) return [];
  const isAccount = month.scope_id === owner.userId;
  const { apiKeyUsd, accountUsd, tokens } = owner.caps;
  const budget = isAccount ? accountUsd : apiKeyUsd;
  const about = { userId: owner.userId, scopeId: month.scope_id, month: month.month };

  const alerts: Alert[] = [];
  const budgetUsed = budget === null ? 0 : alertPercentage(parseUsd(month.cost_usd), budget);
  if (budgetUsed > month.budget_alert) alerts.push({ ...about, kind: 'budget', percentage: budgetUsed });
  const tokensUsed = !isAccount || tokens === null ? 0 : alertPercentage(BigInt(month.tokens), tokens);
  if (tokensUsed > month.quota_alert) alerts.push({ ...about, kind: 'quota', percentage: tokensUsed });
  return alerts;
}
