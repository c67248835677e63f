export { Bfd, type BfdOptions } from './bfd.ts';
