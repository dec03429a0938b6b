/**
 * Makes the n-th call of node:fs fail as the system would. Calls are met where they leave JavaScript: what Node does inside, and what LMDB does, is not
 * seen. Only calls on paths below `root`, or on files that are open there, are counted.
 */
import fs from 'node:fs';
import promises, { type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';

export type Errno = 'EIO' | 'ENOSPC' | 'EMFILE' | 'EACCES';
export interface Call {
  name: string;
  /** Path, or what the descriptor is open on. */
  on: string;
  /** Errors that the system may give for it. */
  can: Errno[];
}

type Anything = (...args: unknown[]) => unknown;
type Members = Record<string, unknown>;

const SYNC =
  'openSync closeSync readSync writeSync fstatSync lstatSync statSync fsyncSync ftruncateSync fchmodSync chmodSync renameSync linkSync unlinkSync mkdirSync rmdirSync rmSync readdirSync opendirSync readFileSync writeFileSync appendFileSync realpathSync readlinkSync'.split(
    ' ',
  );
const CALLBACK = ['read', 'fsync', 'fdatasync'];
const PROMISE = ['open', 'copyFile', 'opendir', 'readFile', 'rm'];
const HANDLE = ['read', 'write', 'sync', 'truncate', 'chmod', 'stat'];

const OPENS = /^(open|opendir|readdir|copyFile|readFile|writeFile|appendFile)/;
const ADDS = /^(write|appendFile|fsync|fdatasync|sync|mkdir|rename|link|copyFile)/;
const NAMES =
  /^(open|stat|lstat|rename|link|unlink|mkdir|rmdir|rm|readdir|copyFile|chmod|readFile|writeFile|appendFile|realpath)/;

export class Injector {
  /** Every call since it was armed. */
  calls: Call[] = [];
  private armed = false;
  private nth = 0;
  private cue: { name: string; on: string } | undefined;
  /** What the n-th call fails with. */
  code: Errno = 'EIO';
  private readonly undo: (() => void)[] = [];
  private readonly readlink = fs.readlinkSync.bind(fs);

  constructor(private root: string) {}

  /** Replaces the functions. */
  async install(): Promise<void> {
    const file = fs as unknown as Members;
    for (const name of SYNC) this.replace(file, name, (real) => (args) => this.sync(name, real, args));
    const { realpathSync } = fs;
    this.replace(
      realpathSync as unknown as Members,
      'native',
      (real) => (args) => this.sync('realpathSync', real, args),
    );
    for (const name of CALLBACK) this.replace(file, name, (real) => (args) => this.callback(name, real, args));
    for (const name of PROMISE) this.replace(promises, name, (real) => (args) => this.promise(name, real, args));
    const handle = await promises.open(this.root, 'r');
    const prototype = Object.getPrototypeOf(handle) as Members;
    await handle.close();
    for (const name of HANDLE) {
      this.replace(prototype, name, (real) => (args, self) => this.handle(name, real, args, self as FileHandle));
    }
    syncBuiltinESMExports();
  }

  uninstall(): void {
    for (const one of this.undo.reverse()) one();
    syncBuiltinESMExports();
  }

  /** From now on counts calls below `root`; the n-th fails. 0: none does. */
  arm(root: string, nth: number, code: Errno): void {
    Object.assign(this, { root, nth, code, calls: [], armed: true, cue: undefined });
  }
  /** The call after the next one of this name on this path, relative to the root, fails. */
  armAfter(name: string, on: string): void {
    this.arm(this.root, 0, 'EIO');
    this.cue = { name, on };
  }
  disarm(): Call[] {
    this.armed = false;
    return this.calls;
  }

  private replace(
    holder: Members,
    name: string,
    make: (real: Anything) => (args: unknown[], self: unknown) => unknown,
  ): void {
    const real = holder[name] as Anything & Members;
    const ours = make(real);
    function replaced(this: unknown, ...args: unknown[]): unknown {
      return ours(args, this);
    }
    holder[name] = Object.assign(replaced, 'native' in real ? { native: real.native } : {});
    this.undo.push(() => (holder[name] = real));
  }

  /** Whether this call is the one that fails. */
  private fails(name: string, on: string, flags?: unknown): boolean {
    if (!this.armed || !this.counts(on)) return false;
    const can = possible(name, flags);
    const call = { name, on: path.relative(this.root, on), can };
    this.calls.push(call);
    if (call.name === this.cue?.name && call.on === this.cue.on) this.nth = this.calls.length + 1;
    const chosen = this.calls.length === this.nth;
    // calls may come in another order than when the error was chosen
    if (chosen && !can.includes(this.code)) this.code = 'EIO';
    return chosen;
  }

  private counts(on: string): boolean {
    return on === this.root || on.startsWith(`${this.root}/`);
  }

  private error(name: string): Error {
    const texts = {
      EIO: 'i/o error',
      ENOSPC: 'no space left on device',
      EMFILE: 'too many open files',
      EACCES: 'permission denied',
    };
    return Object.assign(new Error(`${this.code}: ${texts[this.code]}, injected in ${name}`), { code: this.code });
  }

  private sync(name: string, real: Anything, args: unknown[]): unknown {
    // what procfs says of a descriptor always works
    const isProc = name === 'readlinkSync' && String(args[0]).startsWith('/proc/');
    if (isProc || !this.fails(name, this.pathOf(args[0]), args[1])) return real(...args);
    if (name === 'closeSync') real(...args);
    throw this.error(name);
  }

  private callback(name: string, real: Anything, args: unknown[]): unknown {
    if (!this.fails(name, this.pathOf(args[0]))) return real(...args);
    const done = args.at(-1) as (error: Error) => void;
    return void setImmediate(() => done(this.error(name)));
  }

  private async promise(name: string, real: Anything, args: unknown[]): Promise<unknown> {
    const on = name === 'copyFile' ? args[1] : args[0];
    if (this.fails(name, this.pathOf(on), args[1])) throw this.error(name);
    const result = await real(...args);
    if (name === 'open') this.watchClose(result as FileHandle);
    return result;
  }

  /** `close` is a member of each handle, not of its class. */
  private watchClose(file: FileHandle): void {
    const close = file.close.bind(file);
    file.close = async () => {
      const failing = file.fd >= 0 && this.fails('close', this.pathOf(file.fd));
      await close();
      if (failing) throw this.error('close');
    };
  }

  private async handle(name: string, real: Anything, args: unknown[], self: FileHandle): Promise<unknown> {
    if (self.fd >= 0 && this.fails(name, this.pathOf(self.fd))) throw this.error(name);
    return real.apply(self, args);
  }

  /** The path that is meant, also by a descriptor or through /proc/self/fd. */
  private pathOf(what: unknown): string {
    if (!this.armed) return '';
    try {
      if (typeof what === 'number') return this.readlink(`/proc/self/fd/${what}`);
      const name = String(what);
      const [, fd, rest] = /^\/proc\/self\/fd\/(\d+)(.*)$/.exec(name) ?? [];
      return fd === undefined ? name : `${this.readlink(`/proc/self/fd/${fd}`)}${rest ?? ''}`;
    } catch {
      return '';
    }
  }
}

function possible(name: string, flags: unknown): Errno[] {
  const codes: Errno[] = ['EIO'];
  const creates = typeof flags === 'number' ? (flags & fs.constants.O_CREAT) !== 0 : /^[wa]/.test(String(flags));
  if (ADDS.test(name) || (name.startsWith('open') && creates)) codes.push('ENOSPC');
  if (OPENS.test(name)) codes.push('EMFILE');
  if (NAMES.test(name)) codes.push('EACCES');
  return codes;
}

/** What this process has open below a folder: paths, with ` (deleted)` where the file is gone. */
export function openBelow(root: string): { name: string; isDirectory: boolean }[] {
  return fs.readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = fs.readlinkSync(`/proc/self/fd/${fd}`);
      if (target !== root && !target.startsWith(`${root}/`)) return [];
      return [{ name: path.relative(root, target), isDirectory: fs.fstatSync(Number(fd)).isDirectory() }];
    } catch {
      return [];
    }
  });
}
