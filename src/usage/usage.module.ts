import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { UsageArchive } from './archive/usage-archive.entity';
import { Ledger } from './ledger';
import { Partitions } from './partitions';
import { PriceBook } from './price-book';
import { UsageForecast } from './reading/usage-forecast';
import { UsageLines } from './reading/usage-lines';
import { UsageReadingController } from './reading/usage-reading.controller';
import { UsageTimeseries } from './reading/usage-timeseries';
import { UsageController } from './usage.controller';
import { UsageHour } from './usage-hour.entity';
import { UsageLog } from './usage-log.entity';
import { UsageMonth } from './usage-month.entity';
import { UsagePending } from './usage-pending.entity';
import { UsageService } from './usage.service';

@Module({
  imports: [TypeOrmModule.forFeature([UsageLog, UsageHour, UsageMonth, UsagePending, UsageArchive])],
  controllers: [UsageController, UsageReadingController],
  providers: [Ledger, Partitions, PriceBook, UsageService, UsageTimeseries, UsageLines, UsageForecast],
  exports: [Ledger, PriceBook],
})
export class UsageModule {}
