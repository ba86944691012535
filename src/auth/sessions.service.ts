import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Clock } from '../common/clock';
import type { UserPrincipal } from '../common/principal';
import { Session } from './session.entity';

@Injectable()
export class SessionsService {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
  ) {}

  /** Opens a session for a user who has just proven himself. @returns its id. */
  async open(userId: string, tx: EntityManager = this.db): Promise<string> {
    const id = uuidv7();
    await tx.insert(Session, { id, userId, createdAt: this.clock.now() });
    return id;
  }

  /** Ends all sessions of a user. */
  async endAllOf(userId: string, tx: EntityManager = this.db): Promise<void> {
    await tx.delete(Session, { userId });
  }

  /** Who a session belongs to, or null when it has ended or its user is suspended or gone. */
  async principal(sessionId: string, userId: string): Promise<UserPrincipal | null> {
    const session = await this.db.findOne(Session, {
      where: { id: sessionId, userId },
      relations: { user: true },
    });
    if (!session?.user?.isActive) return null;
    return { kind: 'user', userId, sessionId, role: session.user.role, tier: session.user.tier };
  }
}
