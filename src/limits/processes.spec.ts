import { Processes } from './processes';

const ids = ['a', 'b', 'c', 'd'];

describe('Processes', () => {
  it.each([0, 1, 2, 3, 4, 5, 99, 100, 2 ** 31 - 1])('share a limit of %d out without a rest', (limit) => {
    for (let n = 1; n <= ids.length; n++) {
      const present = ids.slice(0, n);
      const shares = present.map((id) => {
        const processes = new Processes(id);
        processes.note([...present].reverse(), 0);
        return processes.shareOf(limit);
      });
      expect(shares.reduce((sum, share) => sum + share, 0)).toBe(limit);
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    }
  });

  it('give one that has heard of no other the whole limit', () => {
    expect(new Processes('a').shareOf(100)).toBe(100);
  });

  it('count a newcomer at once, and one that is gone after five seconds', () => {
    const processes = new Processes('a');
    processes.note(['a', 'b'], 1_000);
    expect(processes.shareOf(100)).toBe(50);
    processes.note(['a'], 5_999);
    expect(processes.shareOf(100)).toBe(50);
    processes.note(['a'], 6_000);
    expect(processes.shareOf(100)).toBe(100);
  });

  it('leave all of them time to come back, however long Redis was away', () => {
    const processes = new Processes('a');
    processes.note(ids, 1_000);
    processes.awaitAll(600_000);
    processes.note(['a'], 600_100);
    expect(processes.total).toBe(4);
    processes.note(['a', 'b'], 605_000);
    expect(processes.total).toBe(2);
  });
});
