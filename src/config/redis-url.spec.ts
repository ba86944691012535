import { parseRedisUrl } from './redis-url';

describe('REDIS_URL', () => {
  it.each([
    ['redis://127.0.0.1', { servers: [{ host: '127.0.0.1', port: 6379 }], db: 0, tls: false }],
    ['redis://cache:6380/3', { servers: [{ host: 'cache', port: 6380 }], db: 3, tls: false }],
    ['redis://cache/', { servers: [{ host: 'cache', port: 6379 }], db: 0, tls: false }],
    ['redis://[::1]:6380', { servers: [{ host: '::1', port: 6380 }], db: 0, tls: false }],
    [
      'rediss://me:p%40ss@cache.example.com',
      {
        servers: [{ host: 'cache.example.com', port: 6379 }],
        username: 'me',
        password: 'p@ss',
        db: 0,
        tls: true,
      },
    ],
    [
      'redis://:pass@cache',
      { servers: [{ host: 'cache', port: 6379 }], password: 'pass', db: 0, tls: false },
    ],
    [
      'redis+sentinel://:pass@a,b:26380,[::1]:26381/main/2',
      {
        servers: [
          { host: 'a', port: 26379 },
          { host: 'b', port: 26380 },
          { host: '::1', port: 26381 },
        ],
        sentinelName: 'main',
        password: 'pass',
        db: 2,
        tls: false,
      },
    ],
  ])('is read: %s', (text, address) => {
    expect(parseRedisUrl(text)).toEqual(address);
  });

  it.each([
    '',
    'redis://',
    'http://cache',
    'cache:6379',
    'redis://a,b',
    'redis://cache/zero',
    'redis://cache/0/1',
    'redis://cache:port',
    'redis://:%zz@cache',
    'redis+sentinel://a,b',
    'redis+sentinel://a,/main',
  ])('is refused: %s', (text) => {
    expect(parseRedisUrl(text)).toBeUndefined();
  });
});
