import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startOf } from '../../src/base/process.js';
import { openStore } from '../../src/store/open.js';
import { ServerFile, readRecord, type ServerRecord } from '../../src/cli/server-file.js';

let state: string;
let path: string;
beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), 'gos3rve-claim-'));
  path = join(state, 'server.json');
});
afterEach(() => rmSync(state, { recursive: true }));

/** Changes the record behind the back of its holder, by another file under its name. */
function plant(change: Partial<ServerRecord>, ageSeconds = 0): void {
  const record = readRecord(path);
  writeFileSync(`${path}.new`, JSON.stringify({ ...record, id: 'abcdef', ...change }));
  renameSync(`${path}.new`, path);
  const time = Date.now() / 1000 - ageSeconds;
  utimesSync(path, time, time);
}

/** A process id that no process has. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '']);
  await new Promise((resolve) => child.once('exit', resolve));
  return child.pid ?? 0;
}

describe('claim', () => {
  it('refuses a second server, naming the first, until that has stopped', async () => {
    const first = await ServerFile.claim(state);
    first.announce('http://127.0.0.1:9000');
    await expect(ServerFile.claim(state)).rejects.toThrow(
      `this directory is served already at http://127.0.0.1:9000 (pid ${process.pid}); stop that server first`,
    );
    first.release();
    const second = await ServerFile.claim(state);
    second.release();
    expect(readdirSync(state)).toEqual([]);
  });

  it('takes over at once from a process of this boot that is gone', async () => {
    const crashed = await ServerFile.claim(state);
    plant({ pid: await deadPid() });
    const next = await ServerFile.claim(state, { onWait: () => expect.fail('it waited') });
    expect(crashed.beat()).toBe(false);
    crashed.release();
    expect(readRecord(path)?.pid).toBe(process.pid);
    next.release();
  });

  it('leaves nothing for good when it is killed while it waits', async () => {
    const root = join(state, 'root');
    const own = join(root, '.gos3rve');
    mkdirSync(own, { recursive: true });
    const names = (): string[] => readdirSync(own).filter((name) => name.startsWith('server.'));
    const ServerFileUrl = pathToFileURL(join(import.meta.dirname, '../../dist/cli/server-file.js')).href;
    writeFileSync(join(own, 'server.json'), '');
    const code = `const { ServerFile } = await import('${ServerFileUrl}');
      await ServerFile.claim(process.argv[1], { onWait: () => process.kill(process.pid, 'SIGKILL') });`;
    await once(spawn(process.execPath, ['--input-type=module', '-e', code, own]), 'close');
    expect(names()).toHaveLength(2);
    await (await openStore(root)).close();
    expect(names()).toEqual(['server.json']);
  });

  it.runIf(process.platform === 'linux')('takes over at once from one that was killed and not yet reaped', async () => {
    const crashed = await ServerFile.claim(state);
    // The shell becomes a program that does not wait for its children, as the first process of many a container; before the child ends, or the shell may reap it.
    const parent = spawn('sh', ['-c', 'sleep 1 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      const [line] = (await once(parent.stdout, 'data')) as [Buffer];
      const pid = Number(line.toString());
      await vi.waitFor(() => expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toContain(') Z '), 20_000);
      const pidStart = startOf(pid);
      plant(pidStart === undefined ? { pid } : { pid, pidStart });
      const next = await ServerFile.claim(state);
      next.release();
    } finally {
      parent.kill('SIGKILL');
    }
    crashed.release();
  });

  it('is not fooled by another process under the old pid', async () => {
    const crashed = await ServerFile.claim(state);
    plant({ pidStart: '1' });
    const next = await ServerFile.claim(state);
    next.release();
    crashed.release();
  });

  it('trusts only the heartbeat of other containers: fresh and beating is alive', async () => {
    const foreign = await ServerFile.claim(state);
    plant({ namespace: 'pid:[1]', host: 'elsewhere' });
    let waited = 0;
    const claim = ServerFile.claim(state, { onWait: () => waited++ });
    setTimeout(() => utimesSync(path, Date.now() / 1000, Date.now() / 1000), 700);
    await expect(claim).rejects.toThrow('on elsewhere');
    expect(waited).toBe(1);
    foreign.release();
  });

  it('and silent for 15 s is dead', async () => {
    const foreign = await ServerFile.claim(state);
    plant({ bootId: 'another boot' }, 16);
    const next = await ServerFile.claim(state);
    next.release();
    foreign.release();
  });

  it('mends a record that cannot be read, once it is old', async () => {
    writeFileSync(path, 'garbage');
    utimesSync(path, 1, 1);
    const claim = await ServerFile.claim(state);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ pid: process.pid });
    claim.release();
  });

  it('takes over a take-over whose process died in the middle', async () => {
    const crashed = await ServerFile.claim(state);
    const pid = await deadPid();
    plant({ pid });
    writeFileSync(join(state, 'server.takeover-abcdef'), JSON.stringify({ ...readRecord(path), id: '123456', pid }));
    const next = await ServerFile.claim(state);
    expect(readdirSync(state)).toEqual(['server.json']);
    next.release();
    crashed.release();
  });
});

it('of many processes that see a dead record, one wins', async () => {
  const crashed = await ServerFile.claim(state);
  plant({ pid: await deadPid() });
  const module = pathToFileURL(join(import.meta.dirname, '../../dist/cli/server-file.js')).href;
  const script = `
    const { ServerFile } = await import(${JSON.stringify(module)});
    const at = ${Date.now() + 1500};
    await new Promise((r) => setTimeout(r, at - Date.now()));
    try { await ServerFile.claim(${JSON.stringify(state)}); console.log('won'); await new Promise((r) => setTimeout(r, 1500)); }
    catch (error) { console.log(error.name === 'UsageError' ? 'lost' : error.stack); }`;
  const results = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
      let out = '';
      child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
      await new Promise((resolve) => child.once('close', resolve));
      return out.trim();
    }),
  );
  expect(results.sort()).toEqual([...Array.from({ length: 7 }, () => 'lost'), 'won']);
  crashed.release();
});
