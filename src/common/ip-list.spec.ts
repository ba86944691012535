import { IpList, isIpRange } from './ip-list';

describe('an address list', () => {
  const list = new IpList(['203.0.113.0/24', '198.51.100.7', '2001:db8::/48', '2001:db9::1']);

  it.each([
    '203.0.113.0',
    '203.0.113.255',
    '198.51.100.7',
    '::ffff:203.0.113.9',
    '::ffff:cb00:7109',
    '::FFFF:198.51.100.7',
    '2001:db8:0:ffff::1',
    '2001:0DB9:0000::1',
  ])('has %s', (address) => {
    expect(list.has(address)).toBe(true);
  });

  it.each([
    '203.0.114.0',
    '198.51.100.8',
    '::ffff:198.51.100.8',
    '2001:db8:1::1',
    '2001:db9::2',
    '::203.0.113.9',
    '203.0.113.9, 10.0.0.1',
    'unknown',
    '',
  ])('does not have %p', (address) => {
    expect(list.has(address)).toBe(false);
  });

  it('has every address of a family, and none of the other, by its whole range', () => {
    expect(new IpList(['0.0.0.0/0']).has('192.0.2.1')).toBe(true);
    expect(new IpList(['0.0.0.0/0']).has('2001:db8::1')).toBe(false);
    expect(new IpList(['::/0']).has('2001:db8::1')).toBe(true);
  });

  it.each([
    '203.0.113.0/33',
    '203.0.113.0/-1',
    '203.0.113.0/',
    '203.0.113.0/024',
    '203.0.113.0/24/8',
    '203.0.113',
    '0x7f.1',
    '2001:db8::/129',
    'fe80::1%eth0',
    '::ffff:203.0.113.1',
    ' 203.0.113.1',
    '*',
    '',
    7,
    null,
  ])('takes no %p', (text) => {
    expect(isIpRange(text)).toBe(false);
  });
});
