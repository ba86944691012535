import fc from 'fast-check';
import {
  type CustomerState,
  entitlementOf,
  type KnownSubscription,
  microseconds,
  type SubscriptionFacts,
} from './entitlement';

const facts = (fields: Partial<SubscriptionFacts> = {}): SubscriptionFacts => ({
  id: 'a',
  status: 'active',
  productId: 'p',
  tier: 'starter',
  cancelAtPeriodEnd: false,
  periodStart: '2026-01-01T00:00:00Z',
  periodEnd: '2026-02-01T00:00:00Z',
  ...fields,
});
const known = (atUs: number, fields: Partial<SubscriptionFacts> = {}): KnownSubscription => ({
  ...facts(fields),
  atUs,
});
const state = (atUs: number, fields: Partial<CustomerState> = {}): CustomerState => ({
  atUs,
  active: [],
  grantedTiers: [],
  ...fields,
});

describe('entitlement', () => {
  it('is free for whom nothing is known, and for whom Polar does not know', () => {
    expect(entitlementOf(null, [])).toEqual({ tier: 'free', subscription: null });
    expect(entitlementOf(state(1), [])).toEqual({ tier: 'free', subscription: null });
  });

  it.each([
    ['active', 'starter'],
    ['trialing', 'starter'],
    ['past_due', 'starter'],
    ['paused', 'free'],
    ['canceled', 'free'],
    ['unpaid', 'free'],
    ['incomplete', 'free'],
    ['incomplete_expired', 'free'],
    ['of tomorrow', 'free'],
  ])('by a subscription that is %s is %s', (status, tier) => {
    expect(entitlementOf(null, [known(1, { status })]).tier).toBe(tier);
  });

  it('stays until the period ends when the subscription is to end with it', () => {
    expect(entitlementOf(null, [known(1, { cancelAtPeriodEnd: true })]).tier).toBe('starter');
  });

  it('is that of the highest of two subscriptions, and of the other when one ends', () => {
    const both = [known(1, { id: 'a', tier: 'professional' }), known(1, { id: 'b' })];
    expect(entitlementOf(null, both).tier).toBe('professional');
    const one = [known(2, { id: 'a', tier: 'professional', status: 'canceled' }), known(1, { id: 'b' })];
    expect(entitlementOf(null, one)).toMatchObject({ tier: 'starter', subscription: { id: 'b' } });
    const granted = state(1, {
      active: [facts({ id: 'a', tier: 'professional' }), facts({ id: 'b' })],
      grantedTiers: ['professional', 'starter'],
    });
    expect(entitlementOf(granted, one).tier).toBe('starter');
  });

  it('follows what is newer, the state of the customer or the event of the subscription', () => {
    const ended = known(5, { status: 'canceled' });
    expect(entitlementOf(state(9), [known(5)]).tier).toBe('free');
    expect(entitlementOf(state(9, { active: [facts()] }), [ended]).tier).toBe('starter');
    expect(entitlementOf(state(3, { active: [facts()], grantedTiers: ['starter'] }), [ended]).tier).toBe(
      'free',
    );
    expect(entitlementOf(state(3), [known(5)]).tier).toBe('starter');
  });

  it('keeps the plan that was heard of a product when the state of the customer does not tell it', () => {
    const silent = (productId: string) => state(9, { active: [facts({ tier: null, productId })] });
    expect(entitlementOf(silent('p'), [known(5)])).toMatchObject({
      tier: 'starter',
      subscription: { tier: 'starter' },
    });
    expect(entitlementOf(silent('another'), [known(5)]).tier).toBe('free');
  });

  it('drops at once with a change to a lower product, whatever was granted for the higher one', () => {
    const before = state(3, {
      active: [facts({ tier: 'enterprise', productId: 'e' })],
      grantedTiers: ['enterprise'],
    });
    expect(entitlementOf(before, [known(5)]).tier).toBe('starter');
  });

  it('lasts through a late payment as long as Polar grants the benefit, and no longer', () => {
    const late = known(5, { status: 'past_due' });
    expect(entitlementOf(state(9, { grantedTiers: ['starter'] }), [late]).tier).toBe('starter');
    expect(entitlementOf(state(9), [late])).toMatchObject({
      tier: 'free',
      subscription: { status: 'past_due' },
    });
  });

  it('shows one that waits for its payment before a higher one that has ended', () => {
    const ended = known(5, { id: 'a', tier: 'professional', status: 'canceled' });
    const late = known(5, { id: 'b', status: 'past_due' });
    expect(entitlementOf(state(9), [ended, late]).subscription).toMatchObject({
      id: 'b',
      status: 'past_due',
    });
    expect(entitlementOf(state(9), [ended]).subscription).toMatchObject({ id: 'a' });
  });

  it('shows a subscription that is not in a later state any more as canceled', () => {
    expect(entitlementOf(state(9), [known(5)]).subscription?.status).toBe('canceled');
  });

  it('does not depend on the order of what is known', () => {
    const statuses = fc.constantFrom('active', 'trialing', 'past_due', 'canceled', 'paused');
    const subscription = fc.record({
      id: fc.constantFrom('a', 'b', 'c', 'd'),
      status: statuses,
      tier: fc.constantFrom('starter' as const, 'professional' as const, null),
      atUs: fc.integer({ min: 1, max: 9 }),
    });
    const many = fc.uniqueArray(subscription, { selector: ({ id }) => id });
    fc.assert(
      fc.property(many, fc.integer({ min: 0, max: 9 }), (list, atUs) => {
        const all = list.map((one) => known(one.atUs, one));
        const at = atUs ? state(atUs, { active: all.filter(({ status }) => status === 'active') }) : null;
        expect(entitlementOf(at, [...all].reverse())).toEqual(entitlementOf(at, all));
      }),
    );
  });

  it('tells moments of Polar apart to the microsecond', () => {
    expect(microseconds('2026-01-01T00:00:00.000001Z') - microseconds('2026-01-01T00:00:00Z')).toBe(1);
    expect(microseconds('2026-01-01T00:00:00.5Z') - microseconds('2026-01-01T01:00:00+01:00')).toBe(500_000);
    expect(microseconds('2026-01-01T00:00:00.1234567Z') % 1_000_000).toBe(123_456);
  });
});
