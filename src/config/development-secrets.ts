import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

const secrets = z.object({ JWT_SECRET_KEY: z.string().min(32), SECRET_KEY: z.string().min(32) });

/**
 * The secrets of a development installation: random, made at the first start and kept in `dataDir/secrets.json`
 * (readable by its owner only), so that tokens survive a restart. Never used in production.
 */
export function developmentSecrets(dataDir: string): z.infer<typeof secrets> {
  mkdirSync(dataDir, { recursive: true });
  const file = join(dataDir, 'secrets.json');
  const made = {
    JWT_SECRET_KEY: randomBytes(48).toString('base64url'),
    SECRET_KEY: randomBytes(48).toString('base64url'),
  };

  // Linked into place whole: of two first starts one wins, and both read the same secrets.
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, JSON.stringify(made, null, 2), { mode: 0o600 });
  try {
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft);
  }
  return secrets.parse(JSON.parse(readFileSync(file, 'utf8')));
}
