/** The lab's own image, from Debian's packages alone: no registry is asked. Built once, kept by podman. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../processes.ts';
import { CONTAINERFILE, PODMAN, ULIMITS } from './podman.ts';

/** Debian alone. @returns the image's name */
export async function ensureBase(onProgress: (message: string) => void): Promise<string> {
  const { mirror, codename } = await debian();
  const base = `localhost/peerless-lab-base:${codename}`;
  if (!(await exists(base))) {
    onProgress(`building the container base (Debian ${codename})`);
    await bootstrap(base, mirror, codename);
  }
  return base;
}

/** @returns the image's name */
export async function ensureImage(onProgress: (message: string) => void): Promise<string> {
  const { codename } = await debian();
  const image = `localhost/peerless-lab:${codename}`;
  if (await exists(image)) return image;
  const base = await ensureBase(onProgress);
  onProgress('building the container image (FRR)');
  const directory = await mkdtemp(join(tmpdir(), 'peerless-lab-'));
  try {
    const arguments_ = ['--build-arg', `BASE=${base}`, '--network', 'host', ...ULIMITS, '-t', image];
    await run([...PODMAN, 'build', '-q', ...arguments_, '-f', CONTAINERFILE, directory]);
  } finally {
    await rm(directory, { recursive: true });
  }
  return image;
}

async function bootstrap(image: string, mirror: string, codename: string): Promise<void> {
  // Not in /tmp, which may be mounted without devices or be small.
  const directory = await mkdtemp('/var/tmp/peerless-lab-base-');
  try {
    const root = join(directory, 'root');
    const archive = join(directory, 'base.tar');
    await run(['debootstrap', '--variant=minbase', codename, root, mirror]);
    await run(['tar', '-C', root, '--exclude=./var/cache/apt/archives/*', '--exclude=./dev/*', '-cf', archive, '.']);
    await run([...PODMAN, 'import', '-q', archive, image]);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function exists(image: string): Promise<boolean> {
  return (await run([...PODMAN, 'images', '-q', image])).trim() !== '';
}

/** This machine's Debian, from the mirror that it uses itself. */
async function debian(): Promise<{ mirror: string; codename: string }> {
  const release = await readFile('/etc/os-release', 'utf8');
  const codename = /^VERSION_CODENAME=(\S+)$/m.exec(release)?.[1];
  if (codename === undefined || !/^ID=debian$/m.test(release)) {
    throw new Error('the lab builds its image from the packages of a Debian host: give another image');
  }
  const targets = await run([
    'apt-get',
    'indextargets',
    '--format',
    '$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)',
  ]);
  const wanted = targets.split('\n').map((line) => line.split(' '));
  const mirror = wanted.find(([, suite, component]) => suite === codename && component === 'main')?.[0];
  if (mirror === undefined)
    throw new Error(`apt knows no source of ${codename} main: run apt-get update, or give another image`);
  return { mirror, codename };
}
