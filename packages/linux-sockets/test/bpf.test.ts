import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import {
  AF,
  attachClsact,
  BPF_NOEXIST,
  BpfError,
  BpfLink,
  BpfMap,
  BpfObject,
  BpfProgram,
  bpfLibrary,
  detachClsact,
  interfaceIndex,
  isBpffs,
  LinuxSocket,
  mountBpffs,
  possibleCpus,
  removeClsact,
  SOCK,
  SystemCallError,
  type TcDirection,
  tcxPrograms,
  unmount,
  unpin,
  withNetns,
} from '../src/index.ts';
import { native } from '../src/native.ts';
import { openDescriptors, pair } from './support.ts';

const SOURCE = `
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

enum verdict { VERDICT_PASS = 3, VERDICT_DROP = -1 };
struct key { __u32 address; __u16 port; __u16 padding; };
struct value { __u64 packets; union { __u32 word; __u16 half[2]; }; struct key last; enum verdict verdict; };

const volatile __u32 wanted = 7;
const volatile __u8 letters[4] = "abc";

struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1024); __type(key, struct key); __type(value, struct value); } flows SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4); __type(key, __u32); __type(value, __u64); } counts SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 2); __type(key, __u32); __type(value, __u32); } each SEC(".maps");

static void add(__u32 at, __u64 by) {
  __u64* count = bpf_map_lookup_elem(&counts, &at);
  if (count) __sync_fetch_and_add(count, by);
}

SEC("tc") int first(struct __sk_buff* skb) { add(0, 1); add(1, wanted); skb->mark = letters[1]; return TC_ACT_UNSPEC; }
SEC("tc") int second(struct __sk_buff* skb) { add(2, 1); return TC_ACT_UNSPEC; }
char LICENSE[] SEC("license") = "Dual BSD/GPL";
`;
const REFUSED = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("tc") int refused(struct __sk_buff* skb) { return *(int*)(long)skb->data; }
char LICENSE[] SEC("license") = "GPL";
`;

const directory = mkdtempSync(path.join(tmpdir(), 'linux-sockets-bpf-'));
const bpffs = path.join(directory, 'pins');

function compile(name: string, source: string): string {
  const file = path.join(directory, `${name}.c`);
  const object = path.join(directory, `${name}.o`);
  writeFileSync(file, source);
  const triplet = `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
  execFileSync('clang', ['-O2', '-g', '-target', 'bpf', '-I', triplet, '-c', file, '-o', object]);
  return object;
}

let object = '';
let refused = '';
test.before(() => {
  object = compile('sample', SOURCE);
  refused = compile('refused', REFUSED);
  mountBpffs(bpffs);
});
test.after.always(() => {
  if (isBpffs(bpffs)) unmount(bpffs);
  rmSync(directory, { recursive: true, force: true });
});

function opened(t: ExecutionContext, options?: Parameters<typeof BpfObject.open>[1]): BpfObject {
  const sample = BpfObject.open(object, options);
  t.teardown(() => sample.close());
  return sample;
}

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const count = (map: BpfMap, at: number) => Number(map.get(u32(at))?.readBigUInt64LE() ?? -1n);

/** What is sent arrives when the machine comes to it. */
async function eventually(condition: () => boolean): Promise<boolean> {
  const end = performance.now() + 10_000;
  while (!condition() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
  return condition();
}

function hello(namespace: string): void {
  const socket = LinuxSocket.open({ family: AF.INET, type: SOCK.DGRAM, protocol: 0, netns: namespace });
  socket.connect({ family: 'ipv4', address: '10.9.0.2', port: 9 });
  socket.send({ data: Buffer.from('hello') });
  socket.close();
}

test('maps of a loaded object: one entry, batches, what is full, what is of the wrong size', (t) => {
  const sample = opened(t, { maxEntries: { flows: 700 } }).load();
  const flows = sample.map('flows');
  t.like(flows, { name: 'flows', keySize: 8, valueSize: 24, valueBytes: 24, maxEntries: 700 });
  const key = (at: number) => Buffer.concat([u32(at), Buffer.alloc(4)]);
  t.is(flows.get(key(1)), undefined);
  flows.set(key(1), Buffer.alloc(24, 5), BPF_NOEXIST);
  t.deepEqual(flows.get(key(1)), Buffer.alloc(24, 5));
  t.is(
    t.throws(() => flows.set(key(1), Buffer.alloc(24), BPF_NOEXIST), { instanceOf: SystemCallError }).code,
    'EEXIST',
  );
  t.throws(() => flows.set(key(1), Buffer.alloc(23)), { instanceOf: RangeError });
  t.throws(() => flows.get(Buffer.alloc(7)), { instanceOf: RangeError });
  t.deepEqual(flows.next(undefined), key(1));
  t.is(flows.next(key(1)), undefined);
  t.true(flows.delete(key(1)));
  t.false(flows.delete(key(1)));

  const all = Array.from({ length: 700 }, (_, at) => at);
  flows.setBatch(Buffer.concat(all.map(key)), Buffer.concat(all.map((at) => Buffer.alloc(24, at & 0xff))));
  const is = t.throws(() => flows.set(key(9999), Buffer.alloc(24)), { instanceOf: SystemCallError }).code;
  t.is(is, 'E2BIG');
  const seen = new Set<number>();
  for (const batch of flows.batches(3)) {
    for (let at = 0; at < batch.count; at += 1) {
      const number = batch.keys.readUInt32LE(at * 8);
      seen.add(number);
      t.is(batch.values[at * 24], number & 0xff);
    }
  }
  t.is(seen.size, 700);
  t.is(flows.deleteBatch(Buffer.concat([key(5), key(5), key(8888), key(6), key(7)])), 3);
  t.is(
    [...flows.batches()].reduce((sum, batch) => sum + batch.count, 0),
    697,
  );
  const each = sample.map('each');
  t.is(each.valueBytes, 8 * possibleCpus());
  t.is(
    [...sample.map('counts').batches(3)].reduce((sum, batch) => sum + batch.count, 0),
    4,
  );
});

test('BTF: structures, nameless unions, constants, enumerators', (t) => {
  const { btf } = opened(t);
  t.deepEqual(btf.structs.get('value'), {
    name: 'value',
    size: 24,
    fields: [
      { name: 'packets', offset: 0, size: 8 },
      { name: 'word', offset: 8, size: 4 },
      { name: 'half', offset: 8, size: 4 },
      { name: 'last', offset: 12, size: 8, struct: 'key' },
      { name: 'verdict', offset: 20, size: 4 },
    ],
  });
  t.deepEqual(
    btf.sections
      .get('.rodata')
      ?.fields.map(({ name, size }) => [name, size])
      .sort(),
    [
      ['letters', 4],
      ['wanted', 4],
    ],
  );
  t.is(btf.enumerators.get('VERDICT_DROP'), -1);
});

test('constants are set before the load, and a run without a device shows them', (t) => {
  const sample = opened(t, { constants: { wanted: 41, letters: Buffer.from('xyz\0') } }).load();
  const run = sample.program('first').run(Buffer.alloc(64), { context: Buffer.alloc(192) });
  t.is(run.result, 0xffffffff);
  t.is(run.data.length, 64);
  t.is(run.context.readUInt32LE(8), 'y'.charCodeAt(0));
  t.is(count(sample.map('counts'), 1), 41);
  t.throws(() => BpfObject.open(object, { constants: { other: 1 } }), { message: /no constant other/ });
});

test('what the verifier refuses comes with its log; what is no object is an error', (t) => {
  const bad = BpfObject.open(refused);
  const error = t.throws(() => bad.load(), { instanceOf: BpfError });
  bad.close();
  t.regex(error.log, /invalid access to packet/);
  t.throws(() => bad.load(), { instanceOf: TypeError });
  t.throws(() => BpfObject.open(Buffer.from('no object')), { instanceOf: BpfError });
  t.throws(() => BpfObject.open(Buffer.alloc(0)), { instanceOf: BpfError });
});

test('a machine without libbpf is told so, and the rest of the addon works', (t) => {
  t.true('version' in bpfLibrary());
  const index = fileURLToPath(new URL('../src/index.ts', import.meta.url));
  // A library of that name that is none of libbpf's: the loader finds it first.
  const elsewhere = path.join(directory, 'elsewhere');
  execFileSync('mkdir', ['-p', elsewhere]);
  writeFileSync(path.join(elsewhere, 'empty.c'), 'int nothing;');
  execFileSync('cc', ['-shared', '-o', path.join(elsewhere, 'libbpf.so.1'), path.join(elsewhere, 'empty.c')]);
  const script = `const m = await import(${JSON.stringify(index)});
    m.interfaceIndex('lo');
    console.log(m.bpfLibrary().problem);
    try { m.BpfObject.open(Buffer.alloc(8)); } catch (error) { console.log(error.code, error.message); }`;
  const { stdout } = spawnSync(process.execPath, ['--conditions=source', '--input-type=module', '-e', script], {
    encoding: 'utf8',
    env: { ...process.env, LD_LIBRARY_PATH: elsewhere, NODE_OPTIONS: '' },
  });
  t.regex(stdout, /libbpf\.so\.1 can't be used: it has no libbpf_version_string/);
  t.regex(stdout, /ENOSYS.*apt-get install libbpf1/);
});

test('wrong arguments of the BPF calls are typed errors, never an abort', (t) => {
  const loose = native as unknown as Record<string, (...args: unknown[]) => unknown>;
  const names = Object.getOwnPropertyNames(loose).filter(
    (name) => /^(bpf|mount)/.test(name) && !/^bpf(Library|Log)$/.test(name),
  );
  t.true(names.length > 15);
  for (const name of names) {
    t.throws(() => loose[name]!(), { instanceOf: TypeError }, name);
    for (const wrong of [{}, 'text', undefined, 7, Symbol('no')]) {
      const answers = Array<unknown>(8).fill(wrong);
      // An order of numbers that means nothing to the kernel is refused by it, with an errno.
      try {
        t.true(Number(loose[name]!(...answers)) < 0, name);
      } catch (error) {
        t.true(error instanceof TypeError, name);
      }
    }
  }
});

test('descriptors are closed when asked, not later', (t) => {
  const before = openDescriptors();
  for (let round = 0; round < 5; round += 1) {
    const sample = BpfObject.open(object).load();
    const pin = path.join(bpffs, 'closing');
    sample.map('counts').pin(pin);
    const map = BpfMap.pinned(pin);
    map.close();
    map.close();
    t.is(map.fd, -1);
    t.is(t.throws(() => map.get(u32(0)), { instanceOf: SystemCallError }).code, 'EBADF');
    unpin(pin);
    sample.close();
    sample.close();
  }
  t.is(openDescriptors(), before);
});

for (const direction of ['ingress', 'egress'] satisfies TcDirection[]) {
  test.serial(
    `a link on ${direction}: attached, replaced between two packets, pinned, found again, detached`,
    async (t) => {
      const [near, far] = pair(t);
      const [namespace, device] = direction === 'egress' ? [near, 'v0'] : [far, 'v1'];
      const sample = opened(t).load();
      const counts = sample.map('counts');
      const index = withNetns(namespace, () => interfaceIndex(device));
      const link = withNetns(namespace, () => BpfLink.attach(sample.program('first'), index, direction));
      t.like(link.info(), { program: sample.program('first').info().id, ifindex: index });
      hello(near);
      t.true(await eventually(() => count(counts, 0) > 0));
      link.update(sample.program('second'));
      const [first, second] = [count(counts, 0), count(counts, 2)];
      hello(near);
      t.true(await eventually(() => count(counts, 2) > second));
      t.is(count(counts, 0), first);

      const pin = path.join(bpffs, `link-${direction}`);
      link.pin(pin);
      link.close();
      t.deepEqual(
        withNetns(namespace, () => tcxPrograms(index, direction)),
        [sample.program('second').info().id],
      );
      const again = BpfLink.pinned(pin);
      again.detach();
      again.close();
      t.deepEqual(
        withNetns(namespace, () => tcxPrograms(index, direction)),
        [],
      );
      t.true(unpin(pin));
      t.false(unpin(pin));
    },
  );
}

test.serial('clsact: attached without a pin, replaced, detached, the queue removed', (t) => {
  const [near] = pair(t);
  const sample = opened(t).load();
  const counts = sample.map('counts');
  const ifindex = withNetns(near, () => interfaceIndex('v0'));
  const place = { ifindex, direction: 'egress', handle: 7, priority: 9 } as const;
  withNetns(near, () => attachClsact(sample.program('first'), place));
  hello(near);
  t.true(count(counts, 0) > 0);
  withNetns(near, () => attachClsact(sample.program('second'), place));
  const first = count(counts, 0);
  hello(near);
  t.is(count(counts, 0), first);
  t.true(count(counts, 2) > 0);
  t.true(withNetns(near, () => detachClsact(place)));
  t.false(withNetns(near, () => detachClsact(place)));
  withNetns(near, () => removeClsact(ifindex));
  const shown = execFileSync('ip', ['netns', 'exec', near, 'tc', 'qdisc', 'show', 'dev', 'v0'], { encoding: 'utf8' });
  t.notRegex(shown, /clsact/);
});

test('what the kernel counts of a program while it is told to', (t) => {
  const program = opened(t).load().program('first');
  const file = '/proc/sys/kernel/bpf_stats_enabled';
  const before = readFileSync(file, 'utf8');
  const { runs } = program.statistics();
  writeFileSync(file, '1');
  try {
    program.run(Buffer.alloc(64), { repeat: 100 });
  } finally {
    writeFileSync(file, before);
  }
  const after = program.statistics();
  t.is(after.runs - runs, 100);
  t.true(after.nanoseconds > 0);
});

test('maps are pinned and used by the next object, with their content; programs are pinned', (t) => {
  const sample = BpfObject.open(object).load();
  const pin = path.join(bpffs, 'counts');
  const program = path.join(bpffs, 'first');
  sample.map('counts').set(u32(3), Buffer.alloc(8, 1));
  sample.map('counts').pin(pin);
  sample.program('first').pin(program);
  const { tag, id } = sample.program('first').info();
  sample.close();
  const kept = BpfMap.pinned(pin);
  const next = opened(t, { reuse: { counts: kept } }).load();
  t.is(next.map('counts').id, kept.id);
  t.deepEqual(next.map('counts').get(u32(3)), Buffer.alloc(8, 1));
  const found = BpfProgram.pinned(program);
  t.deepEqual(found.info(), { id, tag, name: 'first' });
  found.close();
  t.is(next.program('first').info().tag, tag);
  kept.close();
  unpin(pin);
  unpin(program);
  t.false(existsSync(pin));
  t.is(t.throws(() => BpfMap.pinned(pin), { instanceOf: SystemCallError }).code, 'ENOENT');
});
