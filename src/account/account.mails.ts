import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { ENV, type Env } from '../config/env';
import { Derivation } from '../platform/crypto/derivation';
import { seal, unseal } from '../platform/crypto/sealing';
import { layOut } from '../platform/mail/mail-layout';
import { Mailer } from '../platform/mail/mailer';

const KIND = 'account_erased';

/** The last mail to somebody who has left. His address stands nowhere any more, so it goes with the mail, sealed. */
@Injectable()
export class AccountMails implements OnModuleInit {
  constructor(
    private readonly mailer: Mailer,
    private readonly derivation: Derivation,
    @Inject(ENV) private readonly env: Env,
  ) {}

  onModuleInit(): void {
    const { SERVICE_NAME } = this.env;
    this.mailer.define(KIND, ({ userId, sealedAddress }: { userId: string; sealedAddress: string }) =>
      Promise.resolve(
        layOut({
          to: unseal(this.keyFor(userId), Buffer.from(sealedAddress, 'base64'), Buffer.from(KIND)),
          subject: 'Your account was erased',
          before: [
            `As you asked, your account at ${SERVICE_NAME} was erased: sessions and API keys have ended, and what was personal is gone.`,
            'What was used and what it cost is kept for our books, without your name or address.',
            'If it was not you who asked: somebody knew your password. It opens nothing here any more; change it where else you use it.',
          ],
        }),
      ),
    );
  }

  /** Sends the mail to the address that the account had, once `tx` has committed. */
  async sendFarewell(userId: string, email: string, tx: EntityManager): Promise<void> {
    const sealed = seal(this.keyFor(userId), email, Buffer.from(KIND));
    await this.mailer.send(KIND, { userId, sealedAddress: sealed.toString('base64') }, tx);
  }

  private keyFor(userId: string): Buffer {
    return this.derivation.mac('farewell', userId);
  }
}
