import { isIP } from 'node:net';
import { z } from 'zod';

/** `true` or `false`. */
export const flag = (fallback: boolean) =>
  z
    .enum(['true', 'false'], 'must be true or false')
    .transform((text) => text === 'true')
    .default(fallback);

/** A whole number within bounds. */
export const integer = (min: number, max: number, fallback: number) =>
  z
    .string()
    .regex(/^\d+$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((n) => n >= min && n <= max, `must be a whole number from ${min} to ${max}`)
    .default(fallback);

/** A URL with one of these schemes. */
export const urlOf = (...schemes: string[]) =>
  z.string().refine(
    (text) => {
      return URL.canParse(text) && schemes.includes(new URL(text).protocol.slice(0, -1));
    },
    `must be a URL beginning with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`,
  );

/** Where a service is reached; paths are added to it. */
export const baseUrl = urlOf('https', 'http').transform((text) => text.replace(/\/+$/, ''));

/** Texts with commas between them; empty ones are left out. */
export const commaList = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean),
);

/** Web origins, as a JSON array or with commas between them. */
export const origins = z
  .string()
  .transform((text, context): string[] => {
    if (!text.trimStart().startsWith('[')) return commaList.parse(text);
    try {
      return z.array(z.string()).parse(JSON.parse(text));
    } catch {
      context.addIssue('must be a JSON array of origins or a comma list');
      return z.NEVER;
    }
  })
  .refine(
    (list) =>
      list.every((origin) => origin === '*' || (URL.canParse(origin) && new URL(origin).origin === origin)),
    'must hold origins such as https://app.example.com, without a path',
  );

/** Which proxies are believed: a number of hops, or addresses and ranges. */
export const trustProxy = z.string().transform((text, context): number | string[] | false => {
  if (text === 'false') return false;
  if (/^\d{1,2}$/.test(text)) return Number(text);
  const parts = commaList.parse(text);
  const known = (part: string): boolean => part === 'loopback' || isIP(part.split('/')[0] ?? '') > 0;
  if (parts.length > 0 && parts.every(known)) return parts;
  context.addIssue('must be a number of hops, "loopback", or a comma list of addresses and CIDR ranges');
  return z.NEVER;
});

/** A mail address, with a name before it or without. */
export const mailAddress = z
  .string()
  .regex(/^[^\r\n]*[^\s@<>]+@[^\s@<>]+>?$/, 'must be an address such as Example <no-reply@example.com>');

/** The id of a Polar product, by which a tier is bought. */
export const polarProduct = (tier: string) =>
  z
    .guid('must be the id of a product, a UUID')
    .transform((id) => id.toLowerCase())
    .optional()
    .describe(
      `Polar's id of the product that sells the plan \`${tier}\`; without it the plan cannot be bought.`,
    );
