/** The machine: Node, the watches that the kernel grants, the file systems that the root lies on. */
import { readFileSync } from 'node:fs';
import { isNetwork, mountOf, mountsBelow, type Mount } from '../../fs/mount-table.js';
import { Tally, type Report } from './finding.js';

/** The oldest Node that package.json allows. */
const OLDEST_NODE = [20, 19, 2] as const;
export function examineNode(report: Report): void {
  const found = process.versions.node.split('.').map(Number);
  const older = OLDEST_NODE.findIndex((wanted, i) => wanted !== found[i]);
  const tooOld = older >= 0 && (found[older] ?? 0) < (OLDEST_NODE[older] ?? 0);
  report(
    tooOld
      ? {
          check: 'node',
          level: 'problem',
          message: `Node ${process.versions.node} is older than ${OLDEST_NODE.join('.')}, which closes known holes`,
          cure: 'install a current Node',
        }
      : { check: 'node', level: 'ok', message: `Node ${process.versions.node}` },
  );
}

/** Each directory takes one watch; a limit counts for all programs of a user. */
export function examineWatches(directories: number, report: Report): void {
  const limit = numberIn('/proc/sys/fs/inotify/max_user_watches');
  if (limit === undefined) return;
  // others use watches as well: editors, file managers, synchronisers
  const short = directories > limit * 0.8;
  const message = `${directories.toLocaleString('en')} directories to watch, ${limit.toLocaleString('en')} watches for this user`;
  report(
    short
      ? {
          check: 'inotify',
          level: 'warning',
          message: `${message}: changes by other programs are noticed late, though never served wrong`,
          cure: `sysctl fs.inotify.max_user_watches=${Math.max(524_288, 2 ** Math.ceil(Math.log2(directories * 2)))} (keep it in /etc/sysctl.d)`,
        }
      : { check: 'inotify', level: 'ok', message },
  );
}

/** @param state directory of index and journal. */
export function examineMounts(root: string, state: string, report: Report): void {
  const mount = mountOf(root);
  if (!mount) return;
  const network = new Tally();
  for (const { path, type } of [mount, ...mountsBelow(root)]) if (isNetwork(type)) network.add(`${path} (${type})`);
  network.tell(report, {
    check: 'network-mount',
    level: 'warning',
    one: 'mount lies on a network: what other machines change there is not announced, only found by looking',
    message: 'mounts lie on a network: what other machines change there is not announced, only found by looking',
    cure: 'it is served right all the same; --scan-interval says how often to look; --watch poll stops the useless watches',
  });
  const below = mountOf(state);
  if (below && isNetwork(below.type))
    report({
      check: 'state-on-network',
      level: 'problem',
      message: `the index lies on ${below.type}, where its locks and its memory map cannot be relied upon`,
      cure: 'keep it on a local disk: --state-dir DIR',
    });
  examineDurability(mount, report);
}

function examineDurability({ path, type, options }: Mount, report: Report): void {
  if (type === 'tmpfs' || type === 'ramfs')
    report({
      check: 'durability',
      level: 'warning',
      message: `${path} is ${type}: everything is gone at the next boot`,
      cure: 'serve a directory on a disk',
    });
  else if (type === 'overlay')
    report({
      check: 'durability',
      level: 'warning',
      message: `${path} is a container's own layer (overlay): everything is gone with the container`,
      cure: 'mount a volume and serve that',
    });
  const weak = options.filter((option) => /^(nobarrier|barrier=0|data=writeback|async)$/.test(option));
  if (weak.length > 0 && type !== 'tmpfs')
    report({
      check: 'mount-options',
      level: 'warning',
      message: `${path} is mounted with ${weak.join(', ')}: a power cut can take what was flushed`,
      cure: 'mount it without',
    });
}

function numberIn(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
