import { Injectable } from '@nestjs/common';
import type { ComponentHealthDto } from './health.dto';

/** What the service has besides its database, and can be without for a while; whoever uses it says how it is. */
@Injectable()
export class Components {
  private readonly reports = new Map<'redis', () => ComponentHealthDto>();

  /** @param report is asked each time the health is. */
  add(name: 'redis', report: () => ComponentHealthDto): void {
    this.reports.set(name, report);
  }

  /** How each of them is now. */
  states(): Partial<Record<'redis', ComponentHealthDto>> {
    return Object.fromEntries([...this.reports].map(([name, report]) => [name, report()]));
  }
}
