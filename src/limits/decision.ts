import type { Claim } from './policies';

/** Where a claim stands after a decision. */
export interface ClaimState {
  readonly claim: Claim;
  /** Until there is a place for it, in milliseconds; 0: there was one. */
  readonly waitMs: number;
  /** Places that are left. */
  readonly remaining: number;
  /** Until a taken place frees, in milliseconds; 0 when none is taken. */
  readonly resetMs: number;
}

/** What became of the claims of one request. */
export interface Decision {
  /** One for each claim, in their order. */
  readonly states: readonly ClaimState[];
  /** The claim that has to wait longest; undefined: all places are taken now. */
  readonly refused: ClaimState | undefined;
}

/** The decision that the states of all claims amount to. */
export function decisionOf(states: readonly ClaimState[]): Decision {
  let refused: ClaimState | undefined;
  for (const state of states) if (state.waitMs > (refused?.waitMs ?? 0)) refused = state;
  return { states, refused };
}
