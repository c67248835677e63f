/** Many frames out of one port. */
import test from 'ava';
import { interfaceIndex, LinuxSocket, withNetns } from 'linux-sockets';
import { PortSocket } from '../../src/netlink/frames/index.ts';
import { cable, inBoxes } from './helpers.ts';

const frame = (length: number) => Buffer.alloc(length, 0xff);

test.serial(
  'R4.5 of a port that takes nothing all frames fail at once, of another the one that is wrong',
  async (t) => {
    await inBoxes(2, async (tor, server) => {
      cable(tor, 'A1', server, 'C1');
      const ifindex = withNetns(tor.netns, () => interfaceIndex('A1'));
      const port = new PortSocket(
        { name: 'A1', ifindex, netns: tor.netns, bridged: false, multicast: false },
        () => undefined,
      );
      const send = LinuxSocket.prototype.sendData;
      try {
        const codes: string[] = [];
        port.sendAll([frame(60), frame(9_000), frame(9_000), frame(60)], (index, code) =>
          codes.push(`${index} ${code}`),
        );
        t.deepEqual(codes, ['1 EMSGSIZE', '2 EMSGSIZE']);
        tor.ip('link set A1 down');
        let calls = 0;
        LinuxSocket.prototype.sendData = function counted(...args) {
          calls++;
          return send.apply(this, args);
        };
        const failed: number[] = [];
        port.sendAll(
          Array.from({ length: 1_000 }, () => frame(60)),
          (index, code) => code === 'ENETDOWN' && failed.push(index),
        );
        t.deepEqual(failed, [...Array(1_000).keys()]);
        t.is(calls, 2);
      } finally {
        LinuxSocket.prototype.sendData = send;
        port.close();
      }
    });
  },
);
