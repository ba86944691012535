import { Injectable } from '@nestjs/common';
import { Derivation } from '../platform/crypto/derivation';

/** Which refresh token of which session. */
export interface RefreshTokenName {
  readonly sessionId: string;
  readonly generation: number;
}

/**
 * Refresh tokens: `<generation>.<token of the session's id>`; opaque to clients. None is stored, and the same name
 * always gives the same token, so a repeated refresh can hand out the same successor.
 */
@Injectable()
export class RefreshTokens {
  constructor(private readonly derivation: Derivation) {}

  write({ sessionId, generation }: RefreshTokenName): string {
    return `${generation}.${this.derivation.token('refresh-token', sessionId, String(generation))}`;
  }

  /** What a token names, or null when it is not one of ours. */
  read(text: string): RefreshTokenName | null {
    const [, digits, token] = /^(\d{1,9})\.([\w-]{64})$/.exec(text) ?? [];
    if (digits === undefined || token === undefined) return null;
    const sessionId = this.derivation.idOf('refresh-token', token, digits);
    return sessionId === null ? null : { sessionId, generation: Number(digits) };
  }
}
