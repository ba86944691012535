import { Readable } from 'node:stream';
import { Injectable } from '@nestjs/common';
import { EntityManager, LessThan } from 'typeorm';
import { ApiKeyDto } from '../api-keys/api-key.dto';
import type { ApiKeyWithVersions } from '../api-keys/key-making';
import { ApiKeysService } from '../api-keys/api-keys.service';
import { SessionDto } from '../auth/sessions.dto';
import { SessionsService } from '../auth/sessions.service';
import { BillingEvent } from '../billing/billing-event.entity';
import { Clock } from '../common/clock';
import { formatUsd } from '../common/money';
import type { Page } from '../common/pagination';
import type { UserPrincipal } from '../common/principal';
import { Audit, type ReadEvent } from '../platform/audit/audit';
import { OwnEventDto } from '../platform/audit/audit.dto';
import { UsageLog } from '../usage/usage-log.entity';
import { UsageService } from '../usage/usage.service';
import { UserDto } from '../users/users.dto';
import { UsersService } from '../users/users.service';
import { ExportedCallDto } from './account.dto';

/** So many rows are in memory at once, however many there are. */
const BATCH = 500;

@Injectable()
export class AccountExportService {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly users: UsersService,
    private readonly sessions: SessionsService,
    private readonly apiKeys: ApiKeysService,
    private readonly usage: UsageService,
    private readonly audit: Audit,
  ) {}

  /** Everything that is kept about a user: the JSON text of an `AccountExportDto`, read as it is sent. */
  async open({ userId, sessionId }: UserPrincipal): Promise<Readable> {
    const exportedAt = this.clock.now();
    const account = UserDto.from(await this.users.get(userId));
    const sessions = (await this.sessions.list(userId)).map((session) => SessionDto.from(session, sessionId));
    const { total } = await this.usage.stats(userId);
    const small = JSON.stringify({ exported_at: exportedAt, account, sessions });
    const sums = JSON.stringify({
      total_requests: total.requests,
      total_tokens: total.tokens,
      total_cost_usd: formatUsd(total.costNanoUsd),
    });
    return Readable.from(this.pieces(userId, exportedAt, withoutBrace(small), withoutBrace(sums)));
  }

  private async *pieces(userId: string, now: Date, small: string, sums: string): AsyncGenerator<string> {
    yield `${small},"api_keys":`;
    yield* arrayOf(this.keys(userId, now));
    yield `,"usage":${sums},"calls":`;
    yield* arrayOf(this.calls(userId));
    yield '},"billing_events":';
    yield* arrayOf(this.billingEvents(userId));
    yield ',"audit":';
    yield* arrayOf(this.events(userId));
    yield '}';
  }

  private async *keys(userId: string, now: Date): AsyncGenerator<object[]> {
    let last: ApiKeyWithVersions | undefined;
    do {
      const keys = await this.apiKeys.batch(userId, last);
      yield keys.map((key) => ApiKeyDto.from(key, now));
      last = keys.at(-1);
    } while (last);
  }

  private async *calls(userId: string): AsyncGenerator<object[]> {
    let last: UsageLog | undefined;
    do {
      const query = this.db
        .createQueryBuilder(UsageLog, 'line')
        .where('line.userId = :userId', { userId })
        .orderBy('line.createdAt', 'DESC')
        .addOrderBy('line.id', 'DESC')
        .take(BATCH);
      if (last)
        query.andWhere('(line.createdAt, line.id) < (:createdAt, :id)', {
          createdAt: last.createdAt,
          id: last.id,
        });
      const lines = await query.getMany();
      yield lines.map((line) => ExportedCallDto.from(line));
      last = lines.at(-1);
    } while (last);
  }

  private async *billingEvents(userId: string): AsyncGenerator<object[]> {
    let last: BillingEvent | undefined;
    do {
      const events: BillingEvent[] = await this.db.find(BillingEvent, {
        where: { userId, ...(last && { id: LessThan(last.id) }) },
        order: { id: 'DESC' },
        take: BATCH,
      });
      yield events.map(({ id, type, eventAt, receivedAt, payload }) => ({
        id,
        type,
        occurred_at: eventAt,
        received_at: receivedAt,
        payload,
      }));
      last = events.at(-1);
    } while (last);
  }

  private async *events(userId: string): AsyncGenerator<object[]> {
    let page: Page<ReadEvent> | undefined;
    do {
      const before: string | null = page?.rows.at(-1)?.id ?? null;
      page = await this.audit.list({ subjectId: userId }, { limit: BATCH, before });
      yield page.rows.map((event) => OwnEventDto.from(event));
    } while (page.cursor !== null);
  }
}

/** A JSON object that goes on. */
function withoutBrace(json: string): string {
  return json.slice(0, -1);
}

/** A JSON array of the items that come in batches. */
async function* arrayOf(batches: AsyncIterable<object[]>): AsyncGenerator<string> {
  let separator = '[';
  for await (const batch of batches) {
    if (batch.length === 0) continue;
    yield separator + batch.map((item) => JSON.stringify(item)).join(',');
    separator = ',';
  }
  yield separator === '[' ? '[]' : ']';
}
