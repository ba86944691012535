import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { ENV, type Env } from '../config/env';
import { layOut } from '../platform/mail/mail-layout';
import { Mailer } from '../platform/mail/mailer';
import { ApiKey } from './api-key.entity';

/** Tells owners of what happens to their keys; sent with a `keyId`. No mail holds a key. */
@Injectable()
export class ApiKeyMails implements OnModuleInit {
  constructor(
    private readonly db: EntityManager,
    private readonly mailer: Mailer,
    @Inject(ENV) private readonly env: Env,
  ) {}

  onModuleInit(): void {
    this.notice('key_created', 'An API key was made', 'has a new API key');
    this.notice('key_rotated', 'An API key was rotated', 'has a new secret for the API key');
    this.notice('key_deactivated', 'An API key was deactivated', 'has ended the API key');
  }

  private notice(kind: string, subject: string, event: string): void {
    this.mailer.define(kind, async ({ keyId }: { keyId: string }) => {
      const key = await this.db.findOne(ApiKey, { where: { id: keyId }, relations: { user: true } });
      if (!key?.user) return null;
      return layOut({
        to: key.user.email,
        subject,
        before: [
          `Your account at ${this.env.PUBLIC_URL} ${event} "${key.name}".`,
          'If it was not you: change your password, which ends all other sessions, and look through your API keys.',
        ],
      });
    });
  }
}
