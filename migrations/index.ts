import { Initial1795312484266 } from './1795312484266-initial';
import { SessionFamilies1795315044619 } from './1795315044619-session-families';
import { AddAudit1795315845381 } from './1795315845381-add-audit';
import { UsageRollUps1795323959739 } from './1795323959739-usage-roll-ups';
import { AddIdempotencyKeys1795324052181 } from './1795324052181-add-idempotency-keys';
import { OneTokenPerPurpose1795324131551 } from './1795324131551-one-token-per-purpose';
import { ApiKeyVersions1795324397053 } from './1795324397053-api-key-versions';
import { AddBilling1795325105249 } from './1795325105249-add-billing';
import { AddTwoFactor1795325153469 } from './1795325153469-add-two-factor';
import { UsageHolds1795326262069 } from './1795326262069-usage-holds';
import { AddUsageOutbox1795326331593 } from './1795326331593-add-usage-outbox';
import { Prices1795328729897 } from './1795328729897-prices';
import { KeyLeaks1795335005509 } from './1795335005509-key-leaks';
import { AddUsageEvents1795335379751 } from './1795335379751-add-usage-events';
import { UsageArchives1795337300000 } from './1795337300000-usage-archives';
import { TellOfLocks1795338314715 } from './1795338314715-tell-of-locks';
import { LeakUrl1795340100000 } from './1795340100000-leak-url';
import { PartitionSearchPath1795341700000 } from './1795341700000-partition-search-path';
import { PublicPrices1795347600000 } from './1795347600000-public-prices';
import { HoldsOfServices1795347633683 } from './1795347633683-holds-of-services';
import { LineIfLost1795348900000 } from './1795348900000-line-if-lost';
import { PendingPlans1795363200000 } from './1795363200000-pending-plans';
import { KeysByState1795363311997 } from './1795363311997-keys-by-state';
import { CheckoutReturnUrl1795364000000 } from './1795364000000-checkout-return-url';
import { RoomForLastUse1795420000000 } from './1795420000000-room-for-last-use';
import { EndOfHolds1795450000000 } from './1795450000000-end-of-holds';
import { DrawsOnHolds1795460000000 } from './1795460000000-draws-on-holds';

/** Every migration, oldest first; `test/architecture.spec.ts` compares this list with the folder. */
export const migrations = [
  Initial1795312484266,
  SessionFamilies1795315044619,
  AddAudit1795315845381,
  UsageRollUps1795323959739,
  AddIdempotencyKeys1795324052181,
  OneTokenPerPurpose1795324131551,
  ApiKeyVersions1795324397053,
  AddBilling1795325105249,
  AddTwoFactor1795325153469,
  UsageHolds1795326262069,
  AddUsageOutbox1795326331593,
  Prices1795328729897,
  KeyLeaks1795335005509,
  AddUsageEvents1795335379751,
  UsageArchives1795337300000,
  TellOfLocks1795338314715,
  LeakUrl1795340100000,
  PartitionSearchPath1795341700000,
  PublicPrices1795347600000,
  HoldsOfServices1795347633683,
  LineIfLost1795348900000,
  PendingPlans1795363200000,
  KeysByState1795363311997,
  CheckoutReturnUrl1795364000000,
  RoomForLastUse1795420000000,
  EndOfHolds1795450000000,
  DrawsOnHolds1795460000000,
];
