/* The built service with the window of every key's own limit as short as SHORT_WINDOW_SECONDS says. */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const dist = realpathSync(fileURLToPath(new URL('../../../dist', import.meta.url)));
const { policies } = await import(`${dist}/src/limits/policies.js`);
policies['api-key'].windowSeconds = Number(process.env.SHORT_WINDOW_SECONDS);
await import(`${dist}/src/main.js`);
