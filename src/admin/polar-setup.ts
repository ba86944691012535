import 'reflect-metadata';
import { PolarClient } from '../billing/polar-client';
import { PolarSetup } from '../billing/polar-setup';
import { CommandError, run } from './command';

/** `npm run polar:setup`: needs Polar and the settings, no database. */
void run(async (env) => {
  if (!env.POLAR_API_KEY)
    throw new CommandError('Set POLAR_API_KEY to an organization access token of Polar.');
  if (!env.PUBLIC_URL.startsWith('https:'))
    throw new CommandError('Set PUBLIC_URL to the https address at which Polar reaches this service.');
  const { made, products, webhookSecret } = await new PolarSetup(new PolarClient(env), env).run();
  return [
    made.length > 0 ? `Made at Polar: ${made.join(', ')}.` : 'Everything is there already.',
    'Settings of the service:',
    `POLAR_PRODUCT_STARTER=${products.starter}`,
    `POLAR_PRODUCT_PROFESSIONAL=${products.professional}`,
    `POLAR_PRODUCT_ENTERPRISE=${products.enterprise}`,
    `POLAR_WEBHOOK_SECRET=${webhookSecret}`,
  ].join('\n');
});
