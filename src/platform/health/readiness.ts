import { Injectable } from '@nestjs/common';

/** Whether this process wants more requests: true until it begins to drain. */
@Injectable()
export class Readiness {
  private draining = false;

  get isDraining(): boolean {
    return this.draining;
  }

  /** From now on `/health/ready` answers 503 and every answer closes its connection. */
  beginDrain(): void {
    this.draining = true;
  }
}
