import 'reflect-metadata';
import { createDataSource } from '../data-source';
import { type AuditFindings, verifyAudit } from '../platform/audit/audit-verifier';
import { Derivation } from '../platform/crypto/derivation';
import { CommandError, runCommand } from './command';

const USAGE = `Usage:
  npm run audit:verify                        read the whole audit log and find what was changed, taken out, put in or moved
  npm run audit:verify -- <position>:<link>   the same, and that a head noted earlier is still in the chain`;

void runCommand(async (env, databaseUrl) => {
  const [knownHead] = process.argv.slice(2);
  if (knownHead !== undefined && !/^\d+:[0-9a-f]*$/.test(knownHead)) throw new CommandError(USAGE);
  const dataSource = await createDataSource(databaseUrl).initialize();
  try {
    const findings = await verifyAudit(dataSource.manager, new Derivation(env), knownHead);
    if (findings.problemsCount > 0) throw new CommandError(explain(findings));
    const { eventsCount, unsealedCount, erasedCount, head } = findings;
    return [
      `The audit log is whole: ${eventsCount} events, ${unsealedCount} of them not sealed yet, ${erasedCount} without their personal part.`,
      `Its head is ${head}`,
    ].join('\n');
  } finally {
    await dataSource.destroy();
  }
});

function explain({ problems, problemsCount, eventsCount }: AuditFindings): string {
  const more = problemsCount - problems.length;
  return [
    `The audit log is not what was recorded (${eventsCount} events):`,
    ...problems.map((problem) => `  - ${problem}`),
    ...(more > 0 ? [`  and ${more} more.`] : []),
    ...(problemsCount >= eventsCount ? ['Is SECRET_KEY the one that the service has?'] : []),
  ].join('\n');
}
