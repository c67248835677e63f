export { openRepair, repairMemory, repairProtocol } from './open.ts';
export { Repair, type RepairKernel, tunnelSource } from './repair.ts';
