export { Drain } from './drain.ts';
