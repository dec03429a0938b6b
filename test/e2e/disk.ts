/** Disks that can be taken away: ext4 in a file, mounted through a loop device. Needs root on Linux. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const run = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

export class Disk {
  private readonly image: string;

  /** @param directory where its file is put. @param options of mkfs.ext4. */
  constructor(directory: string, name: string, size = 64 << 20, ...options: string[]) {
    this.image = path.join(directory, `${name}.img`);
    fs.writeFileSync(this.image, '');
    fs.truncateSync(this.image, size);
    run('mkfs.ext4', '-q', '-m', '0', ...options, this.image);
  }

  mount(point: string): void {
    run('mount', '-o', 'loop', this.image, point);
  }

  /** Whether some process still has it open, so that its loop device is kept. */
  get busy(): boolean {
    return run('losetup', '-j', this.image).trim() !== '';
  }

  /** As when a disk is pulled out: the mount point is empty at once, whatever is open. */
  static pull(point: string): void {
    run('umount', '-l', point);
  }
}

/** Whether we may mount. */
export function canMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  const probe = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-loop-'));
  const point = path.join(probe, 'point');
  try {
    fs.mkdirSync(point);
    new Disk(probe, 'probe', 8 << 20).mount(point);
    run('umount', point);
    return true;
  } catch {
    return false;
  } finally {
    fs.rmSync(probe, { recursive: true, force: true });
  }
}
