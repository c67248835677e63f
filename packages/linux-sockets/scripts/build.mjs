// Builds prebuilds/linux-<arch>/linux-sockets.node: node scripts/build.mjs [--arch x64|arm64] [--if-needed]
import path from 'node:path';
import { buildAddon } from './addon.mjs';

buildAddon(path.dirname(import.meta.dirname), 'linux-sockets');
