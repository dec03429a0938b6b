/** Small disks that are filled to the last block. Needs root on Linux. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Disk } from './disk.js';

export type Kind = 'tmpfs' | 'ext4';

export class FullDisk {
  private readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-full-'));
  readonly root = path.join(this.folder, 'root');

  constructor(kind: Kind, mib: number, options = '') {
    fs.mkdirSync(this.root);
    if (kind === 'ext4') new Disk(this.folder, 'disk', mib << 20, '-i', '1024').mount(this.root);
    else execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mib}m${options}`, 'tmpfs', this.root]);
  }

  /** Fills it up, but for so many bytes. */
  fill(left = 0): void {
    for (const size of [1 << 20, 65_536, 4096, 1]) {
      try {
        for (;;) fs.appendFileSync(this.filler, Buffer.alloc(size, 1));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
    if (left > 0) fs.truncateSync(this.filler, fs.statSync(this.filler).size - left);
  }

  /** Makes room again. */
  empty(): void {
    fs.unlinkSync(this.filler);
  }

  remove(): void {
    execFileSync('umount', [this.root]);
    fs.rmSync(this.folder, { recursive: true });
  }

  private get filler(): string {
    return path.join(this.root, 'filler');
  }
}
