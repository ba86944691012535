import { Module } from '@nestjs/common';
import { UsageModule } from '../usage/usage.module';
import { GenerateController } from './generate.controller';
import { GenerationStreams } from './generation-streams';
import { Providers } from './providers';

@Module({
  imports: [UsageModule],
  controllers: [GenerateController],
  providers: [Providers, GenerationStreams],
})
export class GenerateModule {}
