import { describe, expect, it } from 'vitest';
import { Connection, signedRequest, startServer } from './harness.js';

describe('close', () => {
  it('finishes what is under way, refuses what is new, and closes idle connections', async () => {
    const fixture = await startServer();
    let open: () => void = () => undefined;
    fixture.store.gate = new Promise((resolve) => (open = resolve));
    const idle = new Connection(fixture.port);
    idle.send(signedRequest(fixture, 'GET', '/'));
    await idle.answer();
    const silent = new Connection(fixture.port);
    const busy = new Connection(fixture.port);
    busy.send(`${signedRequest(fixture, 'PUT', '/photos/k', {}, 'content-length: 2\r\n')}ok`);
    await new Promise((resolve) => setTimeout(resolve, 100));

    const closing = fixture.server.close();
    await idle.closed();
    await silent.closed();
    const late = new Connection(fixture.port);
    await late.closed();
    open();
    const answer = await busy.answer();
    expect([answer.status, answer.headers.get('connection')]).toEqual([200, 'close']);
    await closing;
    expect(fixture.store.objects.get('photos/k')?.toString()).toBe('ok');
    for (const connection of [idle, silent, busy, late]) connection.destroy();
  });

  it('cuts what does not end in time', async () => {
    const fixture = await startServer({ drainMs: 100 });
    const stuck = new Connection(fixture.port);
    stuck.send(`${signedRequest(fixture, 'PUT', '/photos/k', {}, 'content-length: 5\r\n')}h`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const before = performance.now();
    await fixture.server.close();
    expect(performance.now() - before).toBeLessThan(2000);
    await stuck.closed();
    expect(fixture.store.objects.size).toBe(0);
  });
});

describe('listen', () => {
  it('names a used port and the way out', async () => {
    const first = await startServer();
    await expect(startServer({ port: first.port })).rejects.toThrow(`port ${first.port} is in use; pass --port`);
    await first.server.close();
  });
});
