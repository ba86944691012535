import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { ENV, type Env } from '../config/env';
import { layOut, type Letter } from '../platform/mail/mail-layout';
import { Mailer } from '../platform/mail/mailer';
import { ApiKey } from './api-key.entity';

/**
 * Tells owners of what happens to their keys; sent with a `keyId`. No mail holds a key. Of what its owner does an
 * address hears once it is proven.
 */
@Injectable()
export class ApiKeyMails implements OnModuleInit {
  constructor(
    private readonly db: EntityManager,
    private readonly mailer: Mailer,
    @Inject(ENV) private readonly env: Env,
  ) {}

  onModuleInit(): void {
    this.notice('key_created', 'An API key was made', 'has a new API key');
    this.notice('key_imported', 'An API key was taken over', 'now knows an API key that you had before,');
    this.notice('key_rotated', 'An API key was rotated', 'has a new secret for the API key');
    this.notice('key_deactivated', 'An API key was deactivated', 'has ended the API key');
    this.mailer.define('key_compromised', async ({ keyId }: { keyId: string }) => {
      const key = await this.db.findOne(ApiKey, { where: { id: keyId }, relations: { user: true } });
      return key?.user ? layOut(compromised(key, key.user.email, this.env.SERVICE_NAME)) : null;
    });
  }

  private notice(kind: string, subject: string, event: string): void {
    this.mailer.define(kind, async ({ keyId }: { keyId: string }) => {
      const key = await this.db.findOne(ApiKey, { where: { id: keyId }, relations: { user: true } });
      // Or anybody could flood a stranger's mailbox, with a text of his own.
      if (!key?.user?.isVerified) return null;
      return layOut({
        to: key.user.email,
        subject,
        before: [
          `Your account at ${this.env.SERVICE_NAME} ${event} "${key.name}".`,
          'If it was not you: change your password, which ends all other sessions, and look through your API keys.',
        ],
      });
    });
  }
}

function compromised({ name, leakUrl, lastUsed }: ApiKey, to: string, serviceName: string): Letter {
  return {
    to,
    subject: 'An API key was leaked and has been ended',
    before: [
      `The API key "${name}" of your account at ${serviceName} was found where others can read it. It opens nothing any more.`,
      ...(leakUrl === null ? [] : ['It was found here:', leakUrl]),
      lastUsed === null
        ? 'It was never used.'
        : `It was last used at ${lastUsed.toISOString()}. Look through the usage of your account for calls that are not yours.`,
      'Make another key for your backend, and remove the old one where it was found.',
    ],
  };
}
