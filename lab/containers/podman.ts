/**
 * G, A and B as podman containers without a network of podman's: each container's network namespace gets the name that
 * a plain lab's namespace has, so cables, probe and observer are the same. runc and explicit limits, because crun and
 * the default limits fail where the machine itself is confined.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { type ProcessRecord, recordOf, run, waitUntil } from '../processes.ts';
import { type Container, directoryOf } from '../state.ts';
import { type NodeName, namespaceOf } from '../topology/plan.ts';

export const PODMAN = ['podman', '--runtime', 'runc'] as const;
export const ULIMITS = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1000:1000'] as const;

/** The checkout or installation: from lab/ or dist/lab/. */
export const PROJECT = ['../../', '../../../']
  .map((path) => new URL(path, import.meta.url).pathname)
  .find((path) => existsSync(`${path}bin/peerless`))!
  .replace(/\/$/, '');

/** Not compiled, so it is found from the project. */
export const CONTAINERFILE = `${PROJECT}/lab/containers/Containerfile`;

const CAPABILITIES = ['NET_ADMIN', 'NET_RAW', 'SYS_ADMIN', 'NET_BIND_SERVICE'];

/** A box for the node's programs, with the lab's directory and the project (read-only) at their own paths. */
export async function startContainer(lab: string, node: NodeName, image: string): Promise<Container> {
  const name = namespaceOf(lab, node);
  const directory = directoryOf(lab);
  await run([
    ...[...PODMAN, 'run', '-d', '--name', name, '--hostname', node, '--network', 'none', ...ULIMITS],
    ...CAPABILITIES.flatMap((capability) => ['--cap-add', capability]),
    // A router sets its interfaces' sysctls; they are its own network namespace's.
    ...['--security-opt', 'unmask=/proc/sys'],
    ...['--sysctl', 'net.ipv4.ip_forward=1', '-v', `${directory}:${directory}`, '-v', `${PROJECT}:${PROJECT}:ro`],
    ...['--entrypoint', 'sleep', image, 'infinity'],
  ]);
  const pid = Number((await run([...PODMAN, 'inspect', '-f', '{{.State.Pid}}', name])).trim());
  await run(['ip', 'netns', 'attach', name, String(pid)]);
  return { name, pid };
}

export async function removeContainer(name: string): Promise<void> {
  await run([...PODMAN, 'rm', '-f', '-t', '0', '--ignore', name]);
}

/** Leaves `command` running in the container; the record has the host's process number. */
export async function startInContainer(
  container: Container,
  name: string,
  command: readonly string[],
  logFile: string,
): Promise<ProcessRecord> {
  const before = new Set(membersOf(container));
  const shell = ['sh', '-c', 'log=$1; shift; exec "$@" >>"$log" 2>&1', 'sh', logFile, ...command];
  await run([...PODMAN, 'exec', '-d', container.name, ...shell]);
  let record: ProcessRecord | undefined;
  await waitUntil(
    () => {
      const started = membersOf(container).filter((pid) => !before.has(pid));
      // Its parent is podman's monitor outside; what it starts itself has a parent inside.
      const members = new Set([...before, ...started]);
      const first = started.find((pid) => !members.has(parentOf(pid) ?? 0));
      record = first === undefined ? undefined : recordOf(name, first);
      return record !== undefined;
    },
    5000,
    10,
  );
  if (!record) throw new Error(`${name} ended at once in ${container.name}: see ${logFile}`);
  return record;
}

/** Host's numbers of all processes in the container's process namespace. */
function membersOf(container: Container): number[] {
  const namespace = processNamespace(container.pid);
  if (namespace === undefined) throw new Error(`container ${container.name} does not run`);
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => processNamespace(pid) === namespace);
}

function processNamespace(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    // It has ended meanwhile.
    return undefined;
  }
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    // It has ended meanwhile.
    return undefined;
  }
}
