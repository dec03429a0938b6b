/** The kernel's table of mounts (proc(5), /proc/self/mountinfo), as this process sees them. Empty where there is none (macOS, Windows). */
import { readFileSync } from 'node:fs';

export interface Mount {
  /** Where it stands. */
  path: string;
  /** File system: `ext4`, `nfs4`, `fuse.sshfs` … */
  type: string;
  /** Of the mount and of the file system. */
  options: string[];
}

const NETWORK =
  /^(nfs4?|cifs|smb3?|smbfs|9p|afs|ceph|glusterfs|lustre|fuse\.(sshfs|s3fs|rclone|glusterfs|cephfs|juicefs|davfs2?))$/;

/** Whether other machines can change files of such a file system without the kernel telling us, and locks and mmap cannot be relied upon. */
export function isNetwork(type: string): boolean {
  return NETWORK.test(type);
}

export function mountTable(): Mount[] {
  let text: string;
  try {
    text = readFileSync('/proc/self/mountinfo', 'utf8');
  } catch {
    return [];
  }
  return text.split('\n').flatMap((line) => parseMount(line) ?? []);
}

/** Fields: id, parent, device, root, mount point (octal escapes), options, optional ones, `-`, type, source, options of the file system. */
export function parseMount(line: string): Mount | undefined {
  const [head = '', tail = ''] = line.split(' - ');
  const [, , , , path, options = ''] = head.split(' ');
  const [type, , more = ''] = tail.split(' ');
  if (path === undefined || type === undefined || type === '') return undefined;
  return {
    path: unescape(path),
    type,
    options: [...options.split(','), ...more.split(',')].filter((one) => one !== ''),
  };
}

/** The mount that a path (real, absolute) lies on. */
export function mountOf(path: string): Mount | undefined {
  let best: Mount | undefined;
  for (const mount of mountTable()) {
    const holds = mount.path === '/' || path === mount.path || path.startsWith(`${mount.path}/`);
    // of several on one point the last one is on top
    if (holds && mount.path.length >= (best?.path.length ?? 0)) best = mount;
  }
  return best;
}

/** Mounts below a directory (real path). */
export function mountsBelow(directory: string): Mount[] {
  const prefix = directory === '/' ? '/' : `${directory}/`;
  return mountTable().filter(({ path }) => path.startsWith(prefix) && path !== directory);
}

function unescape(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}
