import { Controller, Get, HttpCode, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { BillingErrors } from '../billing/billing.errors';
import { BillingOverview, type Overview } from '../billing/billing-overview';
import { Reconciliation } from '../billing/reconciliation';
import { AdminAccess } from '../common/access';
import { MessageDto } from '../common/message.dto';
import { ApiProblems } from '../common/problem-docs';
import { ReconciliationDto } from './admin-billing.dto';

@ApiTags('Admin')
@AdminAccess()
@Controller('admin/billing/reconciliation')
export class AdminBillingController {
  constructor(
    private readonly billing: BillingOverview,
    private readonly reconciliation: Reconciliation,
  ) {}

  @Get()
  @ApiOperation({
    summary: 'Ledger and Polar, side by side',
    description: 'What is billed, where it is, and where the two differ.',
  })
  @ApiOkResponse({ type: ReconciliationDto, description: 'How billing stands.' })
  async state(): Promise<ReconciliationDto> {
    return toDto(await this.billing.overview());
  }

  @Post()
  @HttpCode(200)
  @ApiOperation({
    summary: 'Reconcile now',
    description:
      'Reads all subscriptions, compares the usage of every customer, and sends again what Polar refused; behind the answer.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'It has begun.' })
  @ApiProblems(BillingErrors.notConfigured)
  async begin(): Promise<MessageDto> {
    await this.reconciliation.begin();
    return { message: 'Reconciliation begun' };
  }
}

function toDto(overview: Overview): ReconciliationDto {
  const { outbox, meters, drifts } = overview;
  return {
    is_configured: overview.isConfigured,
    alarms: overview.alarms.map(({ alarm, text }) => ({ alarm, text })),
    outbox: { pending: outbox.pending, dead: outbox.dead, oldest_at: outbox.oldestAt?.toISOString() ?? null },
    meters: meters.map(({ meter, ledger, waiting, onTheirWay, setAside, sent }) => ({
      meter,
      ledger,
      waiting,
      on_their_way: onTheirWay,
      set_aside: setAside,
      sent,
    })),
    webhook_endpoint: overview.endpoint,
    reconciled_at: overview.reconciledAt?.toISOString() ?? null,
    compared_customers: overview.compared,
    drifts: drifts.map(({ userId, meter, polar, drift, checkedAt }) => ({
      user_id: userId,
      meter,
      polar,
      drift,
      checked_at: checkedAt.toISOString(),
    })),
    customers_without_polar: overview.customersWithoutPolar,
  };
}
