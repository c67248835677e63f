export { openRepair, repairMemory } from './open.ts';
export { MARGIN, Repair, type RepairKernel, tunnelSource } from './repair.ts';
