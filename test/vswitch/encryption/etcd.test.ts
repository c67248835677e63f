/** Keys in a real etcd, Debian's, that is killed and comes back. */
import { createServer } from 'node:net';
import test from 'ava';
import { systemClock } from '../../../src/model/clock.ts';
import { KeyController } from '../../../src/vswitch-bridge/encryption/keys/controller.ts';
import { EtcdKeys, EtcdSource } from '../../../src/vswitch-bridge/encryption/keys/etcd.ts';
import { EtcdClient } from '../../../src/vswitch-bridge/encryption/keys/etcd-client.ts';
import { KeyRing } from '../../../src/vswitch-bridge/encryption/keys/ring.ts';
import { Etcd, freePort, until } from './etcd-server.ts';
import { octets } from './hosts.ts';

test.serial(
  'keys in etcd are followed; etcd is killed and comes back, another is asked meanwhile; nothing that was read is lost',
  async (t) => {
    const etcd = await Etcd.start();
    t.teardown(() => etcd.remove());
    const controller = new KeyController(new EtcdKeys([etcd.url]));
    const troubles: (string | undefined)[] = [];
    const ring = new KeyRing(3);
    const source = new EtcdSource([`http://127.0.0.1:${await freePort()}`, etcd.url], systemClock);
    t.teardown(() => source.stop());
    source.start({ listing: ({ keys }) => void ring.replace(keys), trouble: (reason) => void troubles.push(reason) });
    const versions = () => ring.ids.map(({ version }) => version).join();
    await until('the second endpoint', () => troubles.at(-1) === undefined && troubles.length > 1);
    t.regex(troubles[0]!, /ECONNREFUSED/);
    for (const wanted of ['1', '2,1', '3,2,1', '4,3,2', '5,4,3', '1,5,4']) {
      await controller.rotate(5, 3);
      await until(wanted, () => versions() === wanted);
    }
    t.true(await controller.revoke(4));
    await until('revoked', () => versions() === '1,5');
    t.deepEqual(
      (await controller.list()).keys.map(({ version }) => version),
      [1, 5],
    );

    await etcd.kill();
    await until('trouble', () => troubles.at(-1) !== undefined);
    t.is(versions(), '1,5', 'the keys stay');
    await t.throwsAsync(controller.list(), { message: /ECONNREFUSED|socket/ });
    await etcd.run();
    await controller.rotate(5, 3);
    await until('after its return', () => versions() === '2,1,5');
    await new EtcdClient(etcd.url).put('/peerless/keys/9', Buffer.from('not a key'));
    await new EtcdClient(etcd.url).put('/peerless/other', Buffer.from('not ours'));
    const { problems } = await controller.list();
    t.deepEqual(problems, [{ where: '/peerless/keys/9', message: 'no key of ours' }]);
    t.is(versions(), '2,1,5');
  },
);

test.serial('a port that is not etcd is said to be none', async (t) => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => void server.close());
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const keys = new EtcdKeys([`http://127.0.0.1:${port}`]);
  await t.throwsAsync(keys.read(), { message: /the answer is no JSON/ });
  await t.throwsAsync(keys.write({ version: 1, issued: 1, key: octets(1) }), { message: /no JSON/ });
});
