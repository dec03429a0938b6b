/**
 * Mount identities and the staging folder of each mount.
 *
 * A device number is only good until the next boot, so a mount is known by the path of its mount point below the root: the root's own is 0,
 * any other the CRC32 of the relative path. rename(2) works within one mount only (bind mounts included, though their device is the
 * same), hence a staging folder on each.
 */
import { lstatSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { crc32 } from '@node-rs/crc32';
import { STATE_DIR } from './keypath.js';
import { mountsBelow } from './mount-table.js';

export class Mounts {
  /** Mount points below the root, deepest first. */
  private tops: string[] = [];
  private devices: Set<bigint>;

  constructor(
    private readonly root: string,
    private rootDevice: bigint,
  ) {
    this.devices = new Set([rootDevice]);
    this.refresh();
  }

  /** The root was mounted again, maybe as another device. */
  rebase(rootDevice: bigint): void {
    this.rootDevice = rootDevice;
    this.devices = new Set([rootDevice]);
    this.tops = [];
    this.refresh();
  }

  /** Reads the mount table again; after EXDEV, and when an unknown device turns up. */
  refresh(): void {
    const found = mountsBelow(this.root).map(({ path }) => path);
    this.tops = [...new Set([...found, ...this.tops])].sort((a, b) => b.length - a.length);
  }

  /** Stable identity of the mount that holds a directory. */
  idOf(device: bigint, directory: string): number {
    const top = this.topOf(device, directory);
    return top === this.root ? 0 : crc32(relative(this.root, top)) || 1;
  }

  /** Where bodies for this directory are staged so that rename(2) can publish them. */
  stagingFor(device: bigint, directory: string): string {
    return join(this.topOf(device, directory), STATE_DIR, 'staging');
  }

  /** Every staging folder that there may be: of the root, and of each mount below it. */
  stagings(): string[] {
    return [this.root, ...this.tops].map((top) => join(top, STATE_DIR, 'staging'));
  }

  private topOf(device: bigint, directory: string): string {
    if (!this.devices.has(device)) {
      this.devices.add(device);
      this.refresh();
      this.learn(device, directory);
    }
    for (const top of this.tops) if (directory === top || directory.startsWith(`${top}/`)) return top;
    return this.root;
  }

  /** Without a mount table (macOS, Windows) the highest directory with this device is the mount point. */
  private learn(device: bigint, directory: string): void {
    if (this.tops.some((top) => directory === top || directory.startsWith(`${top}/`))) return;
    let top = directory;
    while (top !== this.root && top !== dirname(top) && lstatSync(dirname(top), { bigint: true }).dev === device)
      top = dirname(top);
    if (top !== this.root && device !== this.rootDevice)
      this.tops = [top, ...this.tops].sort((a, b) => b.length - a.length);
  }
}
