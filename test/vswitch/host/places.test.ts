import test from 'ava';
import { workerSocket, xfrmDirectory } from '../../../src/agent/host/places.ts';

const at = (socket: string) => ({ control: { socket } });

test('agents whose control sockets stand in one folder have nothing in common there', (t) => {
  t.is(workerSocket(at('/run/peerless/peerless.sock')), '/run/peerless/overlay-worker.sock');
  t.is(xfrmDirectory(at('/run/peerless/peerless.sock')), '/run/peerless/xfrm');
  const sockets = ['peerless.sock', 'h1.sock', 'h2.sock', 'worker'].map((name) => `/run/lab/${name}`);
  const places = sockets.flatMap((socket) => [socket, workerSocket(at(socket)), xfrmDirectory(at(socket))]);
  t.is(new Set(places).size, places.length);
});
