/**
 * The file system's clock. A time stamp younger than its granularity proves nothing: another change in the same tick would leave it as it is
 * (git calls such entries racily clean). It is compared with what the file system itself writes, since a NAS has its own clock.
 */
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { giveOpen, type Ownership } from './statefile.js';

/** Stamps older than this by our own clock are old by any sane clock: no probe needed. */
const PLAINLY_OLD_NS = 10_000_000_000n;

export class FileClock {
  private fd: number | undefined;
  private granularityNs: bigint | undefined;

  /** @param directory a directory of ours on that file system; undefined on a read-only root, where our own clock must do. */
  constructor(
    private readonly directory: string | undefined,
    private readonly owner?: Ownership,
  ) {}

  /** Whether a change right after `stampNs` could still bear the same stamp. */
  isYoung(stampNs: bigint): boolean {
    if (this.isPlainlyOld(stampNs)) return false;
    const now = this.now();
    return now - stampNs <= (this.granularityNs ?? 20_000_000n);
  }

  /** The same without asking the file system: false says nothing. */
  isPlainlyOld(stampNs: bigint): boolean {
    return BigInt(Date.now()) * 1_000_000n - stampNs > PLAINLY_OLD_NS;
  }

  /** ms since a stamp (ms) of the file system. */
  ageMs(stamp: number): number {
    return this.ages()(stamp);
  }

  /** The same for stamps of one moment: the file system is asked once, if at all. */
  ages(): (stamp: number) => number {
    let now: number | undefined;
    return (stamp) => {
      const ours = Date.now() - stamp;
      if (ours * 1e6 > Number(PLAINLY_OLD_NS)) return ours;
      now ??= Number(this.now() / 1_000_000n);
      return now - stamp;
    };
  }

  /** ns since 1970, as the file system counts them. */
  now(): bigint {
    if (this.directory === undefined) return BigInt(Date.now()) * 1_000_000n;
    try {
      this.fd ??= this.open(join(this.directory, 'clock'));
      writeSync(this.fd, '.', 0);
      const { mtimeNs } = fstatSync(this.fd, { bigint: true });
      // whole seconds: FAT (2 s) or an old NFS server; else a kernel tick, at most 10 ms
      if (this.granularityNs === undefined || this.granularityNs > 1_000_000_000n) {
        this.granularityNs = mtimeNs % 1_000_000_000n === 0n ? 2_000_000_000n : 20_000_000n;
      }
      return mtimeNs;
    } catch {
      return BigInt(Date.now()) * 1_000_000n;
    }
  }

  private open(path: string): number {
    const fd = openSync(path, 'w', 0o600);
    giveOpen(fd, this.owner);
    return fd;
  }

  close(): void {
    if (this.fd !== undefined) closeSync(this.fd);
    this.fd = undefined;
  }
}
