/** Of each list production needs one. */
const requiredInProduction = [
  ['DATABASE_URL', 'POSTGRES_URL'],
  ['JWT_SECRET_KEY', 'JWT_SIGNING_KEYS'],
  ['SECRET_KEY'],
  ['PUBLIC_URL'],
  ['SMTP_URL'],
  ['MAIL_FROM'],
];

/** What production refuses of the given variables, by name and rule; never a value. */
export function productionFaults(given: Record<string, string>): string[] {
  const faults = requiredInProduction
    .filter((names) => !names.some((name) => given[name]))
    .map((names) => `${names.join(' or ')} is required in production.`);

  for (const name of ['JWT_SECRET_KEY', 'SECRET_KEY']) {
    const secret = given[name];
    if (secret && isWeakSecret(secret)) {
      faults.push(
        `${name} is too weak: use 32 random bytes or more, such as the output of "openssl rand -base64 48".`,
      );
    }
  }
  if (given['ENCRYPTION_KEYS']?.split(',').some((key) => key.trim() && isWeakSecret(key.trim()))) {
    faults.push('ENCRYPTION_KEYS holds a key that is too weak: use 32 random bytes or more for each.');
  }
  if (given['JWT_SECRET_KEY'] && given['JWT_SECRET_KEY'] === given['SECRET_KEY']) {
    faults.push('JWT_SECRET_KEY and SECRET_KEY must differ.');
  }
  if (given['PUBLIC_URL'] && !isHttpsOrLoopback(given['PUBLIC_URL'])) {
    faults.push('PUBLIC_URL must begin with https:// in production.');
  }
  if (given['ALLOWED_ORIGINS']?.includes('*')) {
    faults.push('ALLOWED_ORIGINS must name its origins in production; * is refused.');
  }
  return faults;
}

/** Too short, too uniform, or made of the words that samples and word lists are made of. */
export function isWeakSecret(secret: string): boolean {
  const sampleWords =
    /your|secret|change|sample|example|password|placeholder|default|test|demo|key|here|jwt|12345*6*7*8*9*0*|abcd|qwerty|[-_ .]/gi;
  const rest = secret.replace(sampleWords, '');
  return Buffer.byteLength(secret) < 32 || rest.length < 20 || new Set(rest).size < 10;
}

function isHttpsOrLoopback(url: string): boolean {
  if (!URL.canParse(url)) return true;
  const { protocol, hostname } = new URL(url);
  return protocol === 'https:' || ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
}
