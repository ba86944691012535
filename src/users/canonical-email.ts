import { domainToASCII } from 'node:url';
import { applyDecorators } from '@nestjs/common';
import { Transform } from 'class-transformer';
import { IsEmail, MaxLength } from 'class-validator';

/** The longest address a mail server must take: RFC 5321, 4.5.3.1.3, less the angle brackets. */
export const EMAIL_LENGTH_MAX = 254;

/**
 * The one form of an address that is compared, stored and mailed: Unicode NFKC, lower case, the domain in ASCII
 * (IDNA, UTS 46), outer white space removed. What it cannot make an address of comes back as it is, for the validator to refuse:
 * also what is too long for one, for Unicode forms take quadratic time of some texts.
 */
export function canonicalEmail(text: string): string {
  if (text.length > EMAIL_LENGTH_MAX) return text;
  const folded = text.trim().normalize('NFKC').toLowerCase().normalize('NFKC');
  const at = folded.lastIndexOf('@');
  if (at < 1) return folded;
  return `${folded.slice(0, at)}@${domainToASCII(folded.slice(at + 1))}`;
}

/**
 * A DTO field that takes an e-mail address and holds its canonical form. Quoted and non-ASCII local parts are refused, and
 * so is what ends in `.invalid`: it is nobody's (RFC 6761, 6.4), and the service puts accounts there whose address is gone.
 */
export function CanonicalEmail(): PropertyDecorator {
  return applyDecorators(
    Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? canonicalEmail(value) : value)),
    IsEmail(
      {
        allow_utf8_local_part: false,
        allow_ip_domain: false,
        require_tld: true,
        host_blacklist: [/(^|\.)invalid$/],
        blacklisted_chars: '"(),:;<>[\\] ',
      },
      { message: 'must be an e-mail address such as name@example.com' },
    ),
    MaxLength(EMAIL_LENGTH_MAX),
  );
}
