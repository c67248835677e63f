/**
 * What the package has of node_modules: the libraries that the agent and its commands need at run time, laid out as npm has
 * laid them out, without what only a developer reads. Optional ones (native tracing for the log) are left out: the libraries
 * say themselves that they do without.
 *
 *   node packaging/modules.mjs DESTINATION VERSION   copies, and writes DESTINATION/../package.json
 */
import { cpSync, existsSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';

const [destination, version] = process.argv.slice(2);
const root = dirname(import.meta.dirname);
const modules = join(root, 'node_modules');
const describe = (folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));

/** As Node.js looks for it, from the folder of the package that asks. */
function folderOf(name, from) {
  for (let folder = from; folder.length >= root.length; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
  }
  throw new Error(`${name} is not installed (needed by ${relative(root, from)})`);
}

const found = new Map();
function visit(folder) {
  for (const name of Object.keys(describe(folder).dependencies ?? {})) {
    const there = folderOf(name, folder);
    if (found.has(there)) continue;
    found.set(there, name);
    visit(there);
  }
}
visit(root);

/** Types, maps, sources beside what was made of them, texts. Licences stay. */
const UNREAD = /\.(map|tsbuildinfo|markdown|md|flow)$|\.[cm]?ts$|^\./i;
const UNREAD_FOLDERS = new Set(['benchmark', 'doc', 'docs', 'example', 'examples', 'test', 'tests', 'node_modules']);
function isRead(path, folder) {
  if (path === folder) return true;
  const name = basename(path);
  if (/^(licen[cs]e|copying|notice)/i.test(name)) return true;
  return !UNREAD.test(name) && !UNREAD_FOLDERS.has(relative(folder, path));
}

for (const [folder, name] of found) {
  const target = join(destination, relative(modules, folder));
  if (lstatSync(folder).isSymbolicLink()) {
    // One of our own: compiled anew by the caller.
    mkdirSync(target, { recursive: true });
    const { version: own, type, exports: faces, dependencies, license } = describe(folder);
    const { source: _, types: __, ...face } = faces['.'];
    const description = { name, version: own, license, type, exports: { '.': face }, dependencies };
    writeFileSync(join(target, 'package.json'), `${JSON.stringify(description, undefined, 2)}\n`);
    continue;
  }
  cpSync(folder, target, { recursive: true, filter: (path) => isRead(path, folder) });
}

const { name, description, license, type, oclif, dependencies } = describe(root);
// The lab builds networks and needs a checkout; a box that runs the agent has no use for it.
const { lab: _, ...topics } = oclif.topics;
const own = { name, version, description, license, type, oclif: { ...oclif, topics }, dependencies };
writeFileSync(join(dirname(destination), 'package.json'), `${JSON.stringify(own, undefined, 2)}\n`);
