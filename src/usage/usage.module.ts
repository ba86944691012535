import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Ledger } from './ledger';
import { PriceBook } from './price-book';
import { UsageController } from './usage.controller';
import { UsageLog } from './usage-log.entity';
import { UsageService } from './usage.service';

@Module({
  imports: [TypeOrmModule.forFeature([UsageLog])],
  controllers: [UsageController],
  providers: [Ledger, PriceBook, UsageService],
  exports: [Ledger, PriceBook],
})
export class UsageModule {}
