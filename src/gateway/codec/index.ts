export {
  decodeFact,
  decodeKey,
  encodeFact,
  encodeKey,
  type FactError,
  type FactKey,
  MOST_ADDRESSES,
  MOST_MACS,
} from './fact.ts';
