import { Injectable } from '@nestjs/common';

/** The one source of the current time; every expiry, window and time step is decided by it, so tests can set it. */
@Injectable()
export class Clock {
  /** The current instant. */
  now(): Date {
    return new Date(this.nowMs());
  }

  /** The current instant in milliseconds since the Unix epoch. */
  nowMs(): number {
    // eslint-disable-next-line no-restricted-syntax -- this is the injected clock itself
    return Date.now();
  }
}
