/** RFC 4271 §8.2.2. */
export type State = 'Idle' | 'Connect' | 'Active' | 'OpenSent' | 'OpenConfirm' | 'Established';

const RANK: Record<State, number> = { Idle: 0, Active: 1, Connect: 2, OpenSent: 3, OpenConfirm: 4, Established: 5 };

/** How far a connection has come: of a neighbour's two connections the further one is shown. */
export const stateRank = (state: State): number => RANK[state];
