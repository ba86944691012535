import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Ledger } from './ledger';
import { Partitions } from './partitions';
import { PriceBook } from './price-book';
import { UsageController } from './usage.controller';
import { UsageHour } from './usage-hour.entity';
import { UsageLog } from './usage-log.entity';
import { UsageMonth } from './usage-month.entity';
import { UsagePending } from './usage-pending.entity';
import { UsageService } from './usage.service';

@Module({
  imports: [TypeOrmModule.forFeature([UsageLog, UsageHour, UsageMonth, UsagePending])],
  controllers: [UsageController],
  providers: [Ledger, Partitions, PriceBook, UsageService],
  exports: [Ledger, PriceBook],
})
export class UsageModule {}
