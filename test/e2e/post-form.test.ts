/** Uploads by forms: what `presign --post` prints, sent as browsers and curl do; and forms that are wrong. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACCESS_KEY, BINARY, SECRET_KEY, bench, cleanEnv, type Bench } from './harness.js';

const run = promisify(execFile);

interface Form {
  url: string;
  fields: Record<string, string>;
}

describe('forms', () => {
  let b: Bench;
  beforeAll(async () => {
    b = await bench({}, async (root) => {
      await mkdir(path.join(root, 'box'));
    });
  });
  afterAll(() => b.end());

  async function form(...args: string[]): Promise<Form> {
    const keys = ['--access-key', ACCESS_KEY, '--secret-key', SECRET_KEY];
    const all = ['presign', ...args, '--post', '--json', '--root', b.server.root, ...keys];
    const { stdout } = await run(process.execPath, [BINARY, ...all], { env: cleanEnv() });
    return JSON.parse(stdout) as Form;
  }

  /** As a browser sends it. */
  function submit(
    { url, fields }: Form,
    content: string | Uint8Array,
    name = 'cat.txt',
    more: Record<string, string> = {},
  ) {
    const data = new FormData();
    for (const [field, value] of Object.entries({ ...fields, ...more })) data.append(field, value);
    data.append('file', new Blob([content]), name);
    return fetch(url, { method: 'POST', body: data, redirect: 'manual' });
  }
  const stored = (key: string) => readFile(path.join(b.server.root, 'box', key), 'utf8');

  it('upload what they allow, under the name of the file', async () => {
    const answer = await submit(await form('box/in/'), 'meow', 'Kätzchen "1".txt');
    expect([answer.status, await answer.text()]).toEqual([204, '']);
    expect(await stored('in/Kätzchen "1".txt')).toBe('meow');
  });

  it('cannot leave their folder by the name of the file', async () => {
    expect((await submit(await form('box/in/'), 'meow', '../../../../../escaped.txt')).status).toBe(204);
    expect(await stored('in/escaped.txt')).toBe('meow');
  });

  it('upload large files whole', async () => {
    const content = new Uint8Array(3_000_000).map((_, n) => n % 251);
    expect((await submit(await form('box/large.bin'), content)).status).toBe(204);
    expect((await readFile(path.join(b.server.root, 'box/large.bin'))).equals(content)).toBe(true);
  });

  it('work for curl', async () => {
    const file = path.join(b.base, 'dog.txt');
    await writeFile(file, 'wuff');
    const { url, fields } = await form('box/dog.txt', '--content-type', 'text/x-dog');
    const args = Object.entries(fields).flatMap(([name, value]) => ['-F', `${name}=${value}`]);
    await run('curl', ['-sS', '--fail', '--noproxy', '*', ...args, '-F', `file=@${file}`, url]);
    expect(await stored('dog.txt')).toBe('wuff');
  });

  it.each([
    ['too large a file', ['box/small', '--max-size', '3'], {}, 400, 'EntityTooLarge'],
    ['another key', ['box/small'], { key: 'other' }, 403, 'AccessDenied'],
    [
      'another type',
      ['box/small', '--content-type', 'text/plain'],
      { 'Content-Type': 'text/html' },
      403,
      'AccessDenied',
    ],
    ['an ACL that nobody allowed', ['box/small'], { acl: 'public-read' }, 403, 'AccessDenied'],
    ['a wrong signature', ['box/small'], { 'x-amz-signature': '0'.repeat(64) }, 403, 'SignatureDoesNotMatch'],
    ['no key', ['box/small'], { key: '' }, 400, 'InvalidArgument'],
    ['a bucket that is not there', ['nobox/small'], {}, 404, 'NoSuchBucket'],
  ])('refuse %s, and leave nothing behind', async (_, args, fields, status, code) => {
    const answer = await submit(await form(...args), 'meow', 'cat.txt', fields);
    expect(await answer.text()).toContain(`<Code>${code}</Code>`);
    expect(answer.status).toBe(status);
    for (const key of ['small', 'other']) expect(existsSync(path.join(b.server.root, 'box', key))).toBe(false);
    expect(await readdir(path.join(b.server.root, '.gos3rve/staging'), { recursive: true })).not.toContain('small');
  });

  it('are refused to strangers', async () => {
    const answer = await submit({ url: `${b.server.url}/box`, fields: { key: 'stranger' } }, 'meow');
    expect([answer.status, existsSync(path.join(b.server.root, 'box/stranger'))]).toEqual([403, false]);
  });

  it('that are none are refused', async () => {
    const answer = await fetch(`${b.server.url}/box`, { method: 'POST', body: 'hello' });
    expect(answer.status).toBe(412);
  });
});
