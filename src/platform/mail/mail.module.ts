import { type DynamicModule, Global, Module } from '@nestjs/common';
import type { Env } from '../../config/env';
import { JobsModule } from '../jobs/jobs.module';
import { DevelopmentMailbox } from './development-mailbox';
import { DevelopmentMailboxController } from './development-mailbox.controller';
import { MailTransport } from './mail';
import { Mailer } from './mailer';
import { SmtpTransport } from './smtp-transport';

@Global()
@Module({})
export class MailModule {
  static register(env: Env): DynamicModule {
    const inMemory = env.SMTP_URL === undefined && !env.isProduction;
    return {
      module: MailModule,
      imports: [JobsModule],
      controllers: inMemory ? [DevelopmentMailboxController] : [],
      providers: inMemory
        ? [Mailer, DevelopmentMailbox, { provide: MailTransport, useExisting: DevelopmentMailbox }]
        : [Mailer, { provide: MailTransport, useClass: SmtpTransport }],
      exports: [Mailer],
    };
  }
}
