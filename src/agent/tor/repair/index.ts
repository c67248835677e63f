export { Repair, type RepairKernel, tunnelSource } from './repair.ts';
