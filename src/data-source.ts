import { DataSource } from 'typeorm';
import { ApiKey } from './api-keys/api-key.entity';
import { ApiKeyVersion } from './api-keys/api-key-version.entity';
import { OneTimeToken } from './auth/one-time-token.entity';
import { Session } from './auth/session.entity';
import { BillingAccount } from './billing/billing-account.entity';
import { BillingEvent } from './billing/billing-event.entity';
import { BillingTask } from './billing/billing-task.entity';
import { PolarCheckoutRow } from './billing/polar-checkout.entity';
import { PolarSubscriptionRow } from './billing/polar-subscription.entity';
import { UsageComparison } from './billing/usage-comparison.entity';
import { UsageOutbox } from './billing/usage-outbox.entity';
import { AttemptCount } from './limits/attempt-count.entity';
import { AuditDetails } from './platform/audit/audit-details.entity';
import { AuditEvent } from './platform/audit/audit-event.entity';
import { AuditHead } from './platform/audit/audit-head.entity';
import { dataSourceOptions } from './platform/database/data-source-options';
import { IdempotencyKey } from './platform/idempotency/idempotency-key.entity';
import { UsageArchive } from './usage/archive/usage-archive.entity';
import { Price } from './usage/price.entity';
import { UsageEvent } from './usage/usage-event.entity';
import { UsageHold } from './usage/usage-hold.entity';
import { UsageHour } from './usage/usage-hour.entity';
import { BackupCode } from './two-factor/backup-code.entity';
import { TwoFactor } from './two-factor/two-factor.entity';
import { UsageLog } from './usage/usage-log.entity';
import { UsageMonth } from './usage/usage-month.entity';
import { UsagePending } from './usage/usage-pending.entity';
import { User } from './users/user.entity';

/** Every table's entity; `test/architecture.spec.ts` compares this list with the files. */
export const entities = [
  User,
  ApiKey,
  ApiKeyVersion,
  TwoFactor,
  BackupCode,
  Session,
  OneTimeToken,
  AttemptCount,
  UsageLog,
  BillingAccount,
  BillingEvent,
  BillingTask,
  PolarCheckoutRow,
  PolarSubscriptionRow,
  UsageComparison,
  UsageOutbox,
  UsageHour,
  UsageMonth,
  UsagePending,
  UsageArchive,
  UsageHold,
  UsageEvent,
  Price,
  AuditEvent,
  AuditDetails,
  AuditHead,
  IdempotencyKey,
];

/** A data source outside the application, for commands on the schema. */
export function createDataSource(url: string): DataSource {
  return new DataSource({ ...dataSourceOptions(url, 2), entities });
}
