import { createHmac } from 'node:crypto';
import { webhooks } from '@polar-sh/sdk/2026-10';
import { isSignedByPolar } from './polar-signature';

const polar = {
  secret: 'whsec_polar_demo_secret',
  headers: {
    id: 'evt_1',
    timestamp: '1700000000',
    signature: 'v1,KG1LRYQt6XLzi8sjtLkfjAb5PHdzHXahjoXd528/Gio=',
  },
  body: Buffer.from('{"type":"order.paid","data":{"id":"1"}}'),
  nowMs: 1_700_000_000_000,
};
const specification = {
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  headers: {
    id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    timestamp: '1614265330',
    signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  },
  body: Buffer.from('{"test": 2432232314}'),
  nowMs: 1_614_265_330_000,
};

describe('the signature of a webhook', () => {
  const check = (
    { secret, headers, body, nowMs }: typeof polar,
    changes: Partial<typeof polar.headers> = {},
    at = nowMs,
  ): boolean => isSignedByPolar(body, { ...headers, ...changes }, [secret], at);

  it("R14: is accepted by the bytes of the whole secret, which is Polar's older way, and by its decoded bytes", () => {
    expect(check(polar)).toBe(true);
    expect(check(specification)).toBe(true);
  });

  it('R14: is refused for another id, time, body or secret, and when a part is missing', () => {
    expect(check(polar, { id: 'evt_2' })).toBe(false);
    expect(check(polar, { timestamp: '1700000001' })).toBe(false);
    expect(check({ ...polar, body: Buffer.from('{"type":"order.paid","data":{"id":"2"}}') })).toBe(false);
    expect(check({ ...polar, body: Buffer.concat([polar.body, Buffer.from(' ')]) })).toBe(false);
    expect(check({ ...polar, secret: 'whsec_polar_demo_secreu' })).toBe(false);
    const { id, timestamp, signature } = polar.headers;
    for (const parts of [
      { timestamp, signature },
      { id, signature },
      { id, timestamp },
    ]) {
      const headers = { id: undefined, timestamp: undefined, signature: undefined, ...parts };
      expect(isSignedByPolar(polar.body, headers, [polar.secret], polar.nowMs)).toBe(false);
    }
    for (const none of ['v1,', 'v1', 'v2,KG1LRYQt6XLzi8sjtLkfjAb5PHdzHXahjoXd528/Gio=', 'x', ' ', 'v1,AAAA'])
      expect(check(polar, { signature: none })).toBe(false);
    for (const odd of ['1700000000.0', ' 1700000000', '1.7e9', 'NaN', '-1', '0x6553f100'])
      expect(check(polar, { timestamp: odd })).toBe(false);
  });

  it('R14: counts for 300 seconds in both directions and not for 301', () => {
    expect([300, -300].map((seconds) => check(polar, {}, polar.nowMs + seconds * 1_000))).toEqual([
      true,
      true,
    ]);
    expect([301, -301].map((seconds) => check(polar, {}, polar.nowMs + seconds * 1_000))).toEqual([
      false,
      false,
    ]);
  });

  it('R14: may be one of several in the list, by one of two secrets', () => {
    const { headers, body, nowMs, secret } = polar;
    const list = { ...headers, signature: `v1,AAAA v1a,BBBB ${headers.signature}` };
    expect(isSignedByPolar(body, list, ['another secret that is long enough', secret], nowMs)).toBe(true);
    expect(isSignedByPolar(body, list, ['another secret that is long enough'], nowMs)).toBe(false);
  });

  it("agrees with Polar's own library", async () => {
    const timestamp = String(Math.floor(Date.now() / 1_000));
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    const body = Buffer.from('{"type":"order.paid","timestamp":"2026-01-01T00:00:00Z","data":{}}');
    for (const key of [Buffer.from(secret), Buffer.alloc(32, 7), Buffer.alloc(32, 8)]) {
      const digest = createHmac('sha256', key).update(`evt.${timestamp}.`).update(body).digest('base64');
      const signature = `v1,${digest}`;
      const theirs = await webhooks
        .validateEvent(
          body,
          { 'webhook-id': 'evt', 'webhook-timestamp': timestamp, 'webhook-signature': signature },
          secret,
        )
        .then(
          () => true,
          () => false,
        );
      expect(isSignedByPolar(body, { id: 'evt', timestamp, signature }, [secret], Date.now())).toBe(theirs);
    }
  });
});
