// Builds prebuilds/linux-<arch>/overlay-worker.node: node scripts/build.mjs [--arch x64|arm64] [--if-needed]
import path from 'node:path';
import { buildAddon } from 'linux-sockets/addon';

buildAddon(path.dirname(import.meta.dirname), 'overlay-worker');
