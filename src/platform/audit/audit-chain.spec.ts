import { randomBytes } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import type { Env } from '../../config/env';
import { Derivation } from '../crypto/derivation';
import { digestOf, eventMac, headMac, isEventMac, isHead, linkOf, type SignedEvent } from './audit-chain';

const ours = new Derivation({ SECRET_KEY: 'a' } as Env);
const others = new Derivation({ SECRET_KEY: 'b' } as Env);

const event: SignedEvent = {
  id: uuidv7(),
  occurredAt: new Date('2026-01-31T12:00:00.001Z'),
  action: 'user.login',
  actor: uuidv7(),
  subjectId: uuidv7(),
  targetId: null,
  result: 'success',
  requestId: uuidv7(),
  detailsDigest: randomBytes(32),
  seenPosition: '7',
  seenLink: randomBytes(32),
};

describe('an event', () => {
  it('has a MAC that covers each of its fields', () => {
    const mac = eventMac(ours, event);
    expect(isEventMac(ours, { ...event }, mac)).toBe(true);
    for (const name of Object.keys(event) as (keyof SignedEvent)[]) {
      const other =
        name === 'occurredAt' ? new Date(0) : /Digest|Link/.test(name) ? randomBytes(32) : 'another';
      expect({ name, isSame: isEventMac(ours, { ...event, [name]: other }, mac) }).toEqual({
        name,
        isSame: false,
      });
    }
  });

  it('does not share its MAC with one whose fields run together to the same text', () => {
    const macs = [
      eventMac(ours, { ...event, actor: 'a', subjectId: 'b' }),
      eventMac(ours, { ...event, actor: 'a","b', subjectId: '' }),
      eventMac(ours, { ...event, actor: null, subjectId: 'b' }),
      eventMac(ours, { ...event, actor: 'null', subjectId: 'b' }),
    ].map((mac) => mac.toString('hex'));
    expect(new Set(macs).size).toBe(macs.length);
  });

  it('cannot be signed without the key', () => {
    expect(isEventMac(ours, event, eventMac(others, event))).toBe(false);
  });
});

describe('a link', () => {
  it('depends on the position, the link before it, the event and the key', () => {
    const [before, mac] = [randomBytes(32), randomBytes(32)];
    const links = [
      linkOf(ours, 1, before, mac),
      linkOf(ours, 2, before, mac),
      linkOf(ours, 1, mac, before),
      linkOf(ours, 1, Buffer.alloc(0), mac),
      linkOf(others, 1, before, mac),
    ].map((link) => link.toString('hex'));
    expect(new Set(links).size).toBe(links.length);
  });
});

describe('a head', () => {
  const link = randomBytes(32);
  const mac = headMac(ours, 5, link);

  it('is ours when it is signed, or the empty one of the beginning', () => {
    expect(isHead(ours, { position: '5', link, mac })).toBe(true);
    expect(isHead(ours, { position: '0', link: Buffer.alloc(0), mac: Buffer.alloc(0) })).toBe(true);
  });

  it('is not ours with another position, link or key', () => {
    expect(isHead(ours, { position: '4', link, mac })).toBe(false);
    expect(isHead(ours, { position: '5', link: randomBytes(32), mac })).toBe(false);
    expect(isHead(ours, { position: '0', link, mac })).toBe(false);
    expect(isHead(others, { position: '5', link, mac })).toBe(false);
  });
});

describe('the digest of a personal part', () => {
  const part = {
    eventId: uuidv7(),
    ip: '203.0.113.7',
    userAgent: 'curl',
    details: { name: 'key', from: null },
    salt: randomBytes(16),
  };

  it('does not depend on the order of the names, which PostgreSQL does not keep', () => {
    expect(digestOf({ ...part, details: { from: null, name: 'key' } })).toEqual(digestOf(part));
  });

  it.each([
    ['event', { eventId: uuidv7() }],
    ['address', { ip: null }],
    ['program', { userAgent: 'curl ' }],
    ['word', { details: { name: 'key', from: 'null' } }],
    ['missing word', { details: { name: 'key' } }],
    ['salt', { salt: randomBytes(16) }],
  ])('changes with another %s', (_what, change) => {
    expect(digestOf({ ...part, ...change })).not.toEqual(digestOf(part));
  });
});
