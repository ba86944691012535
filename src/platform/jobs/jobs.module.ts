import { Module } from '@nestjs/common';
import { Jobs } from './jobs';

/** Not global: Nest ends global modules last, and the workers must end before the database, which is one. */
@Module({ providers: [Jobs], exports: [Jobs] })
export class JobsModule {}
