import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { UsageArchive } from './archive/usage-archive.entity';
import { ApiKeysModule } from '../api-keys/api-keys.module';
import { AuditModule } from '../platform/audit/audit.module';
import { HealthModule } from '../platform/health/health.module';
import { UsersModule } from '../users/users.module';
import { Alerts } from './alerts';
import { BudgetController } from './budget.controller';
import { BudgetService } from './budget.service';
import { Holds } from './holds';
import { Leases } from './leases';
import { Ledger } from './ledger';
import { Partitions } from './partitions';
import { PriceBook } from './price-book';
import { Price } from './price.entity';
import { PricesService } from './prices.service';
import { ReadingDatabase } from './reading/reading-database';
import { UsageForecast } from './reading/usage-forecast';
import { UsageLines } from './reading/usage-lines';
import { UsageReadingController } from './reading/usage-reading.controller';
import { UsageTimeseries } from './reading/usage-timeseries';
import { UsageController } from './usage.controller';
import { UsageEvent } from './usage-event.entity';
import { UsageHold } from './usage-hold.entity';
import { UsageHour } from './usage-hour.entity';
import { UsageLog } from './usage-log.entity';
import { UsageMonth } from './usage-month.entity';
import { UsagePending } from './usage-pending.entity';
import { UsageInterceptor } from './usage.interceptor';
import { UsageMails } from './usage.mails';
import { UsageService } from './usage.service';

@Module({
  imports: [
    TypeOrmModule.forFeature([
      UsageLog,
      UsageHour,
      UsageMonth,
      UsagePending,
      UsageHold,
      UsageEvent,
      UsageArchive,
      Price,
    ]),
    ApiKeysModule,
    AuditModule,
    HealthModule,
    UsersModule,
  ],
  controllers: [UsageController, BudgetController, UsageReadingController],
  providers: [
    Alerts,
    BudgetService,
    Holds,
    Leases,
    Ledger,
    Partitions,
    PriceBook,
    PricesService,
    UsageInterceptor,
    UsageMails,
    ReadingDatabase,
    UsageService,
    UsageTimeseries,
    UsageLines,
    UsageForecast,
  ],
  exports: [UsageService, UsageInterceptor, BudgetService, Holds, Ledger, PriceBook, PricesService],
})
export class UsageModule {}
