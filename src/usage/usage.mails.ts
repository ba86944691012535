import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { ApiKey } from '../api-keys/api-key.entity';
import { ENV, type Env } from '../config/env';
import type { Mail } from '../platform/mail/mail';
import { layOut } from '../platform/mail/mail-layout';
import { Mailer } from '../platform/mail/mailer';
import { plans } from '../users/plans';
import { UsersService } from '../users/users.service';
import { nextMonth } from './caps';

/** The kinds of the mails about caps. */
export const ALERT_MAILS = { budget: 'budget_alert', quota: 'quota_alert' } as const;

/** A type and not an interface: only a type is taken for a record. */
type AlertIds = { userId: string; scopeId: string; month: string; percentage: string };

/** The mails about budgets and the plan's tokens. Names and sums are looked up when they are sent. */
@Injectable()
export class UsageMails implements OnModuleInit {
  constructor(
    private readonly db: EntityManager,
    private readonly mailer: Mailer,
    private readonly users: UsersService,
    @Inject(ENV) private readonly env: Env,
  ) {}

  onModuleInit(): void {
    this.mailer.define<AlertIds>(ALERT_MAILS.budget, (ids) => this.budgetAlert(ids));
    this.mailer.define<AlertIds>(ALERT_MAILS.quota, (ids) => this.quotaAlert(ids));
  }

  private async budgetAlert({ userId, scopeId, month, percentage }: AlertIds): Promise<Mail | null> {
    const user = await this.users.find(userId);
    const key = scopeId === userId ? null : await this.db.findOneBy(ApiKey, { id: scopeId });
    const budget = (key ?? user)?.monthlyBudgetUsd;
    if (!user || !budget) return null;
    const whose = key ? `your API key "${key.name}"` : 'your account';
    return layOut({
      to: user.email,
      subject: `${percentage} % of the monthly budget of ${whose} is used`,
      before: [
        `The monthly budget of ${whose} at ${this.env.SERVICE_NAME} is ${Number(budget)} US dollars, and ${percentage} % of it is used.`,
        consequence(percentage, month, 'raise the budget'),
      ],
    });
  }

  private async quotaAlert({ userId, month, percentage }: AlertIds): Promise<Mail | null> {
    const user = await this.users.find(userId);
    if (!user) return null;
    const { name, tokensIncludedPerMonth } = plans[user.tier];
    return layOut({
      to: user.email,
      subject: `${percentage} % of the tokens of your plan are used`,
      before: [
        `Your plan "${name}" at ${this.env.SERVICE_NAME} includes ${tokensIncludedPerMonth} tokens a month, and ${percentage} % of them are used.`,
        consequence(percentage, month, 'choose a larger plan'),
      ],
    });
  }
}

function consequence(percentage: string, month: string, remedy: string): string {
  const until = `${nextMonth(month)}, 00:00 UTC`;
  return percentage === '100'
    ? `Calls that do not fit are refused until ${until}, unless you ${remedy}.`
    : `When it is used up, calls are refused until ${until}, unless you ${remedy}.`;
}
