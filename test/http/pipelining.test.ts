import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Connection, signedRequest, startServer, type Fixture } from './harness.js';

/** RFC 9112 section 9.3.2: only safe methods may run side by side; answers come in the order of the requests. */
describe('requests in one packet', () => {
  let fixture: Fixture;
  let connection: Connection;
  beforeEach(async () => {
    fixture = await startServer();
    connection = new Connection(fixture.port);
  });
  afterEach(async () => {
    connection.destroy();
    await fixture.server.close();
  });
  const put = (key: string, text: string): string =>
    signedRequest(fixture, 'PUT', `/photos/${key}`, {}, `content-length: ${text.length}\r\n`) + text;

  it('are served in turn: a read sees the write before it, a deletion the object before it', async () => {
    fixture.store.objects.set('photos/a', Buffer.from('old'));
    fixture.store.gate = new Promise((resolve) => setTimeout(resolve, 50));
    const get = signedRequest(fixture, 'GET', '/photos/a');
    connection.send(put('a', 'new') + get + put('b', 'b') + signedRequest(fixture, 'DELETE', '/photos/b'));
    const answers = [await connection.answer(), await connection.answer(), await connection.answer()];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(answers[1]?.body).toBe('new');
    expect((await connection.answer()).status).toBe(204);
    expect([...fixture.store.objects.keys()]).toEqual(['photos/a']);
  });

  it('are all answered, however many, and the connection goes on', async () => {
    fixture.store.objects.set('photos/a', Buffer.from('x'));
    const get = signedRequest(fixture, 'GET', '/photos/a');
    connection.send(get.repeat(300));
    for (let i = 0; i < 300; i++) expect((await connection.answer()).body).toBe('x');
    connection.send(get);
    expect((await connection.answer()).status).toBe(200);
  });

  it('leave nothing open when the client goes away', async () => {
    fixture.store.objects.set('photos/big', Buffer.alloc(8 * 1024 * 1024));
    connection.socket.pause();
    connection.send(signedRequest(fixture, 'GET', '/photos/big').repeat(100));
    while (fixture.store.opened === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(fixture.store.opened).toBe(1);
    connection.destroy();
    const late = performance.now() + 3000;
    while (fixture.store.closed < fixture.store.opened && performance.now() < late)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect([fixture.store.opened, fixture.store.closed]).toEqual([1, 1]);
  });

  it('before one that is no HTTP are answered first', async () => {
    connection.send(`${put('a', '1') + put('b', '2')}NONSENSE\r\n\r\n`);
    expect((await connection.answer()).status).toBe(200);
    const last = await connection.answer();
    expect([last.status, last.headers.get('connection')]).toEqual([200, 'close']);
    await connection.closed();
    expect(fixture.store.objects.size).toBe(2);
  });
});
