import { rmSync } from 'node:fs';
import './global-setup';

export default async function globalTeardown(): Promise<void> {
  if (!globalThis.testPostgres) return;
  for (const program of globalThis.testPostgres.programs) await program.end();
  await globalThis.testPostgres.server.stop();
  rmSync(globalThis.testPostgres.directory, { recursive: true, force: true });
}
