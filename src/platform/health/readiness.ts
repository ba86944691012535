import { Injectable } from '@nestjs/common';

/** Whether this process wants more requests: true until it begins to drain. */
@Injectable()
export class Readiness {
  private draining = false;
  private sendingAway = false;

  get isDraining(): boolean {
    return this.draining;
  }

  /** Whether the next answer on a connection is its last. */
  get isSendingAway(): boolean {
    return this.sendingAway;
  }

  /** From now on `/health/ready` answers 503. */
  beginDrain(): void {
    this.draining = true;
  }

  /** From now on every answer closes its connection. */
  sendAway(): void {
    this.sendingAway = true;
  }
}
