import { Global, Module } from '@nestjs/common';
import { Jobs } from './jobs';

/** Imported after the database, so that at the end its workers stop before the connections close. */
@Global()
@Module({ providers: [Jobs], exports: [Jobs] })
export class JobsModule {}
