/**
 * A move to another mount, where rename(2) does not reach: the copy is compared with what is recorded, flushed and published, and only then the
 * source goes, if it is still what was copied. A process that is killed in between leaves both, and the next run takes the copy for what it is.
 */
import { closeSync, fstatSync, futimesSync } from 'node:fs';
import { S3Error } from '../base/errors.js';
import type { ByteFacts } from '../catalog/lines.js';
import type { Layout } from '../catalog/rows.js';
import { isTorn, type OpenFile } from '../fs/reader.js';
import { applyInherit, discard, openAgain, stageCopy } from '../fs/stage.js';
import { checkNotDone, tokenOf } from './again.js';
import { viaOf } from './attribution.js';
import type { Attribution, MoveOptions, ObjectInfo, ObjectRef } from './contract.js';
import type { Core, Found } from './core.js';
import { describe, factsAt, knowledge, sameFacts } from './describe.js';
import { endsOf, etagOf, md5sOf } from './etag.js';
import { formerEtag, formerFacts } from './former.js';
import { holdBucket } from './hold.js';
import { toldSoFar } from './identifier.js';
import type { Objects } from './objects.js';
import type { Current } from './reading.js';
import { Retry, retried, thinkOver } from './publish.js';
import { checkTwoFiles, isFileOfItsOwn, isSameFile, oneFile } from './same-file.js';

export class MountMover {
  constructor(
    private readonly core: Core,
    private readonly objects: Objects,
  ) {}

  /** @throws OperationAborted if the source was changed meanwhile: then both are kept; InvalidRequest if both are one file. */
  async move(from: ObjectRef, to: ObjectRef, options: MoveOptions): Promise<ObjectInfo> {
    const { info, source } = await retried(() => this.copy(from, to, options));
    await this.remove(from, to, source.found, info, options);
    return info;
  }

  /** The source goes. Where another of its names has gone since - moved by us, perhaps - that has changed its ctime: then its bytes are compared again. */
  private async remove(
    from: ObjectRef,
    to: ObjectRef,
    found: Found,
    copy: ObjectInfo,
    options: MoveOptions,
  ): Promise<void> {
    try {
      const check = (): void => checkTwoFiles(this.core, from, to);
      const said = { via: viaOf(options.via, 'ObjectRemoved:Delete'), ...tokenOf(to.bucket, options.clientToken) };
      await this.objects.removing.same(from, found, said, check);
    } catch (error) {
      const now = this.core.find(from.bucket, from.key);
      if (!now?.fp.equals(found.fp) || now.stat.nlink >= found.stat.nlink) throw error;
      const source = await this.hashedAmongNames(from, copy, now.stat.nlink);
      if (!source) throw error;
      if (!isCopy(describe(from.bucket, from.key, source), copy)) throw error;
      await this.remove(from, to, source, copy, options);
    }
  }

  /** A file that loses other names while it is read is read again. */
  private async hashedAmongNames(from: ObjectRef, copy: ObjectInfo, names: bigint): Promise<Found | undefined> {
    for (let left = names; ;) {
      const source = await this.hashed(from, copy);
      if (!source || knowledge(source) === 'known') return source;
      const now = this.core.find(from.bucket, from.key);
      if (!now || now.stat.nlink >= left) return undefined;
      left = now.stat.nlink;
    }
  }

  /** An overflow object comes to its own path, where nothing may be; publishing it there takes it from among the others. No event. @throws Retry. */
  async settle(object: ObjectRef): Promise<ObjectInfo> {
    return (await this.copy(object, object, {}, true).catch(thinkOver)).info;
  }

  /** Ends a move that was interrupted behind its copy. @returns false if what is at `to` is something else. */
  async resume(from: ObjectRef, to: ObjectRef, via: Attribution | undefined): Promise<boolean> {
    const there = this.core.find(to.bucket, to.key);
    const source = there && (await this.hashed(from, describe(to.bucket, to.key, there)));
    if (!there || !source || knowledge(source) !== 'known' || knowledge(there) !== 'known') return false;
    if (!isFileOfItsOwn(source, there)) return false;
    const [old, copy] = [describe(from.bucket, from.key, source), describe(to.bucket, to.key, there)];
    if (!isCopy(old, copy) || !sameFacts(factsAt(this.core, from, to, old.facts), copy.facts)) return false;
    await this.objects.removing.same(from, source, { via: viaOf(via, 'ObjectRemoved:Delete') }, (now) => {
      const still = this.core.find(to.bucket, to.key);
      if (still?.fp.equals(there.fp) && isFileOfItsOwn(now, still)) return;
      throw new S3Error('OperationAborted', `The copy of "${from.key}" was changed; what it was made from is kept.`);
    });
    return true;
  }

  /** The source; if nobody knows its hash and it may have been copied, it is hashed now. */
  private async hashed({ bucket, key }: ObjectRef, there: ObjectInfo): Promise<Found | undefined> {
    const { core, objects } = this;
    const found = await objects.reading.found(bucket, key);
    if (knowledge(found) === 'known' || !looksCopied(describe(bucket, key, found), there)) return found;
    const again = (): Found | undefined => core.find(bucket, key);
    await objects.identifier.hashPlace(found, again);
    core.catalog.index.refresh();
    return again();
  }

  private async copy(
    from: ObjectRef,
    to: ObjectRef,
    { condition, via, clientToken }: MoveOptions,
    settling = false,
  ): Promise<{ info: ObjectInfo; source: Current }> {
    const { core, objects } = this;
    const hold = holdBucket(core, to.bucket);
    const source = await objects.reading.openCurrent(from.bucket, from.key);
    const { found, file } = source;
    try {
      // before its hash is recorded meanwhile: its layout goes with the row
      const recorded = this.recordedOf(found);
      const there = settling ? undefined : core.find(to.bucket, to.key);
      if (there && isSameFile(file.stat, there.stat)) throw oneFile(from, to);
      if (found.row?.appendFrom !== undefined)
        throw new S3Error('OperationAborted', 'The source is being appended to.');
      const target = core.target(to.bucket, to.key);
      const staging = objects.staging(target);
      const { path, file: copy } = await core.room.writing(staging.directory, Number(file.stat.size), (_wrote, fills) =>
        stageCopy(openAgain(file.fd, file.path), staging, fills),
      );
      try {
        const { mode, uid, gid, atimeNs, mtimeNs } = file.stat;
        applyInherit(copy.fd, { mode: Number(mode), uid: Number(uid), gid: Number(gid) });
        futimesSync(copy.fd, seconds(atimeNs), seconds(mtimeNs));
        if (core.durable) await copy.sync();
        const stat = fstatSync(copy.fd, { bigint: true });
        const bytes = await this.verified(file, recorded, { fd: copy.fd, stat, path }, from.key);
        const facts = factsAt(core, from, to, describe(from.bucket, from.key, found).facts);
        const staged = {
          bytes,
          facts,
          told: toldSoFar(found),
          ...(!settling && { via: viaOf(via, 'ObjectCreated:Copy') }),
        };
        const check = (now: Found | undefined): void => {
          if (now?.row?.seq !== found.row?.seq || now?.fp.equals(found.fp) !== true) throw new Retry();
        };
        const guard = settling
          ? { hold, exclusive: true, check }
          : { hold, check: () => checkNotDone(core, to.bucket, clientToken) };
        const info = await objects.publisher.publish(to, { path, stat }, staged, guard, condition);
        return { info, source };
      } catch (error) {
        discard(path);
        throw error;
      } finally {
        await copy.close();
      }
    } finally {
      closeSync(file.fd);
    }
  }

  private recordedOf({ row, fp, ...found }: Found): ByteFacts {
    const { catalog } = this.core;
    const isKnown = row && knowledge({ row, fp, ...found }) === 'known';
    return isKnown ? catalog.bytesOf(row) : formerFacts(catalog, row, fp);
  }

  /** What is known of the source's bytes, once the copy has proved to have them. @throws Retry, InternalError. */
  private async verified(
    file: OpenFile,
    { fp: _fp, unproven, was = '', ...bytes }: ByteFacts,
    copy: OpenFile,
    key: string,
  ): Promise<Omit<ByteFacts, 'fp'>> {
    if (isTorn(file) || copy.stat.size !== file.stat.size) throw new Retry();
    const recorded = formerEtag({ etag: bytes.etag, was });
    const etag = await read(copy, bytes.layout);
    if (isTorn(file)) throw new Retry();
    if (etag === recorded) return { ...bytes, etag };
    const certain = bytes.etag !== '' && !unproven;
    const [got, expected] = certain
      ? [etag, recorded]
      : [bytes.layout ? await read(copy, undefined) : etag, await read(file, undefined)];
    if (isTorn(file)) throw new Retry();
    if (got !== expected)
      throw new S3Error(
        'InternalError',
        `The copy of "${key}" has other bytes (${got}) than ${certain ? 'are recorded' : 'were read'} (${expected}); it was thrown away.`,
      );
    return { etag: got };
  }
}

/** Whether an object may be what an interrupted run has copied from another: but for the hash of the source, which nobody may know. */
export function looksCopied(source: ObjectInfo, there: ObjectInfo): boolean {
  return source.size === there.size && source.lastModified === there.lastModified;
}

/** Whether it is. A derived ETag that was told goes on being told for a while, beside the hash. */
export function isCopy(source: ObjectInfo, there: ObjectInfo): boolean {
  const [known, copied] = [source, there].map(({ etag, aliases = [] }) => [etag, ...aliases]);
  return looksCopied(source, there) && known?.some((etag) => copied?.includes(etag)) === true;
}

/** Node takes times as seconds; half a microsecond keeps the rounding from falling below a whole one. As a text, for it takes a negative number for now. */
function seconds(ns: bigint): string {
  return String(Number(ns / 1000n) / 1e6 + 5e-7);
}

/** MD5 of a file, or by the parts of a layout. */
async function read(file: OpenFile, layout: Layout | undefined): Promise<string> {
  return etagOf(await md5sOf(file, endsOf(Number(file.stat.size), layout)), layout);
}
