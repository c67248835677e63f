export { MAX_FACT_OCTETS } from './codec/facts.ts';
export { OspfSpeaker } from './driver.ts';
export type {
  Authentication,
  InterfaceState,
  InterfaceView,
  LsaView,
  NeighborChange,
  NeighborState,
  NeighborView,
  NetworkType,
  OspfAnnounce,
  OspfDefault,
  OspfInterfaceOptions,
  OspfOptions,
  OspfSettings,
  Speaker,
} from './face.ts';
export { type MemoryStore, memoryFile } from './memory.ts';
export type { OpenOspfSocket, OspfSocket } from './socket.ts';
