import type { Client } from 'pg';

export function makeCaller(
  url: string,
  database: Client,
  name?: string,
  tier?: string,
): Promise<{ readonly apiKey: string }>;
