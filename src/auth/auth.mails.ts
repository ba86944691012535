import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { ENV, type Env } from '../config/env';
import type { Mail } from '../platform/mail/mail';
import { layOut } from '../platform/mail/mail-layout';
import { Mailer } from '../platform/mail/mailer';
import { UsersService } from '../users/users.service';
import { AuthLetters, type Text } from './auth-letters';
import type { TokenPurpose } from './one-time-token.entity';
import { type MailedToken, OneTimeTokens } from './one-time-tokens';

/**
 * The mails about accounts. Those with a link are sent with the `tokenId` of their one-time token; the notices with a
 * `userId`, to addresses that are proven: or anybody could flood a stranger's mailbox.
 */
@Injectable()
export class AuthMails implements OnModuleInit {
  constructor(
    private readonly db: EntityManager,
    private readonly mailer: Mailer,
    private readonly users: UsersService,
    private readonly oneTimeTokens: OneTimeTokens,
    @Inject(ENV) private readonly env: Env,
  ) {}

  onModuleInit(): void {
    const letters = new AuthLetters(this.env.SERVICE_NAME, this.env.PUBLIC_URL);
    this.link('verify_email', 'verify_email', (mailed) => letters.verification(mailed));
    this.link('reset_password', 'reset_password', ({ token }) => letters.passwordReset(token));
    this.link('email_change_undone', 'reset_password', ({ token }) => letters.changeUndone(token));
    this.link('sign_up_attempt', 'sign_up_attempt', () => letters.signUpAttempt());
    this.link('undo_email', 'undo_email', ({ token, user }) => letters.emailChanged(token, user.email));
    this.mailer.define('change_email', ({ tokenId }: { tokenId: string }) =>
      this.changeOfAddress(tokenId, letters),
    );
    this.notice('session_ended', letters.sessionEnded());
    this.notice('password_changed', letters.passwordChanged());
    this.notice('account_locked', letters.locked());
    this.noticeByAdmin('sessions_ended', letters.sessionsEnded());
    this.noticeByAdmin('account_suspended', letters.suspended());
    this.noticeByAdmin('account_restored', letters.restored());
  }

  /** Not sent any more once its token was used or replaced. It goes to the address that its token is about. */
  private link(kind: string, purpose: TokenPurpose, write: (mailed: MailedToken) => Text): void {
    this.mailer.define(kind, async ({ tokenId }: { tokenId: string }) => {
      const found = await this.oneTimeTokens.mail(tokenId, purpose);
      return found && layOut({ ...write(found), to: found.email ?? found.user.email });
    });
  }

  private notice(kind: string, text: Text): void {
    this.mailer.define(kind, async ({ userId }: { userId: string }) => {
      const user = await this.users.find(userId);
      return user?.isVerified ? layOut({ ...text, to: user.email }) : null;
    });
  }

  /** What an admin does reaches whatever address there is: nobody else causes it. */
  private noticeByAdmin(kind: string, text: Text): void {
    this.mailer.define(kind, async ({ userId }: { userId: string }) => {
      const user = await this.users.find(userId);
      return user && layOut({ ...text, to: user.email });
    });
  }

  /** Whoever has the address already is told instead, as of a sign-up with it; the link could not be used anyway. */
  private async changeOfAddress(tokenId: string, letters: AuthLetters): Promise<Mail | null> {
    const found = await this.oneTimeTokens.mail(tokenId, 'change_email');
    if (found?.email == null) return null;
    const ownerId = await this.users.idOf(found.email);
    if (ownerId === null) return layOut({ ...letters.changeOfAddress(found.token), to: found.email });
    await this.db.transaction(async (tx) => {
      const noticeId = await this.oneTimeTokens.issue(ownerId, 'sign_up_attempt', tx);
      await this.mailer.send('sign_up_attempt', { tokenId: noticeId }, tx);
    });
    return null;
  }
}
