import test from 'ava';
import {
  formerWorkerSockets,
  formerXfrmDirectories,
  workerSocket,
  xfrmDirectory,
} from '../../src/config/beside-socket.ts';
import { formatProblem, parseConfig } from '../../src/config/index.ts';

const at = (socket: string) => ({ control: { socket } });

test('agents whose control sockets stand in one folder have nothing in common there', (t) => {
  t.is(workerSocket(at('/run/peerless/peerless.sock')), '/run/peerless/overlay-worker.sock');
  t.is(xfrmDirectory(at('/run/peerless/peerless.sock')), '/run/peerless/xfrm');
  const names = ['peerless.sock', 'h1.sock', 'h1-worker.sock', 'overlay-worker.sock', 'worker'];
  const sockets = ['/run/lab', '/run/peerless/netns'].flatMap((folder) => names.map((name) => `${folder}/${name}`));
  // By this name it stands in the usual folder, and always has.
  sockets.splice(sockets.indexOf('/run/lab/overlay-worker.sock'), 1);
  const places = sockets.flatMap((socket) => [socket, workerSocket(at(socket)), xfrmDirectory(at(socket))]);
  t.is(new Set(places).size, places.length);
});

test('what versions before this one have left is looked for where they had it', (t) => {
  const box = { stateDirectory: '', socket: '' };
  t.deepEqual(formerWorkerSockets(at('/run/lab/h1.sock'), box), [
    '/run/lab/overlay-worker.sock',
    '/run/lab/h1-worker.sock',
  ]);
  t.deepEqual(formerXfrmDirectories(at('/run/lab/h1.sock'), box), ['/run/lab/xfrm']);
  const usual = at('/run/peerless/peerless.sock');
  t.false(formerWorkerSockets(usual, box).includes(workerSocket(usual)));
  t.deepEqual(formerXfrmDirectories(usual, box), []);
  const named = at('/run/peerless/netns/A.sock');
  t.true(formerWorkerSockets(named, { ...box, netns: 'A' }).includes('/run/peerless/overlay-worker.sock'));
  t.true(formerXfrmDirectories(named, { ...box, netns: 'A' }).includes('/run/peerless/xfrm'));
});

test("a path with room for the agent's socket and none for the worker's is a mistake where something is encrypted", (t) => {
  const encrypted = 'encryption: { keys: { directory: /etc/peerless/keys } }\n';
  const problems = (octets: number, more: string) => {
    const socket = `/${'d'.repeat(octets - '//h1.sock'.length)}/h1.sock`;
    const text = `role: host\nunderlay: { address: 10.20.1.1, device: bond0 }\ncontrol: { socket: ${socket} }\n${more}`;
    const result = parseConfig(text, 'F');
    return result.ok ? [] : result.problems.map(formatProblem);
  };
  t.deepEqual(problems(107, ''), []);
  t.deepEqual(problems(98, encrypted), []);
  t.deepEqual(problems(99, encrypted), [
    "F:3:20: control.socket: the path is 1 octet too long for the packet worker's socket beside it. Choose a folder with a shorter path: a Unix socket has room for no more.",
  ]);
});
