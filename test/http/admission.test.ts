/** More requests than are served at once. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { Admission } from '../../src/http/admission.js';
import { Connection, signedRequest, startServer, type Fixture } from './harness.js';

let fixture: Fixture | undefined;
const open: Connection[] = [];
afterEach(async () => {
  for (const connection of open.splice(0)) connection.destroy();
  await fixture?.server.close();
});

async function started(limit: number, patienceMs: number): Promise<Fixture> {
  fixture = await startServer({ admission: new Admission(limit, patienceMs) });
  fixture.store.objects.set('photos/k', Buffer.from('bytes'));
  return fixture;
}
function connection({ port }: Fixture): Connection {
  const one = new Connection(port);
  open.push(one);
  return one;
}
/** A client that sends its body slowly. */
async function slowPut(server: Fixture): Promise<Connection> {
  const slow = connection(server);
  slow.send(`${signedRequest(server, 'PUT', '/photos/slow', {}, 'content-length: 2\r\n')}o`);
  await sleep(50);
  return slow;
}
function asking(server: Fixture, target = '/photos/k'): Connection {
  const one = connection(server);
  one.send(signedRequest(server, 'GET', target));
  return one;
}

describe('a request for which there is no place', () => {
  it('waits for one', async () => {
    const server = await started(1, 20_000);
    const slow = await slowPut(server);
    const [first, second] = [asking(server), asking(server)];
    await sleep(50);
    expect(server.store.opened).toBe(0);
    slow.send('k');
    const answers = await Promise.all([slow, first, second].map((one) => one.answer()));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(answers[2]?.body.toString()).toBe('bytes');
  });

  it('is told to come again if it has waited for long, and its connection serves the next one', async () => {
    const server = await started(1, 100);
    const slow = await slowPut(server);
    const late = asking(server);
    const refused = await late.answer();
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect(refused.body.toString()).toContain('<Code>SlowDown</Code>');
    expect(refused.body.toString()).toContain('--max-requests');
    slow.send('k');
    await slow.answer();
    late.send(signedRequest(server, 'GET', '/photos/k'));
    expect((await late.answer()).status).toBe(200);
  });

  it('is forgotten if its client goes away', async () => {
    const server = await started(1, 20_000);
    const slow = await slowPut(server);
    const gone = asking(server);
    const next = asking(server);
    await sleep(50);
    // a client that only closes its sending side wants its answer
    gone.socket.resetAndDestroy();
    await sleep(50);
    slow.send('k');
    expect((await next.answer()).status).toBe(200);
    expect(server.store.opened).toBe(1);
  });

  it('gets the place of a client that goes away in the middle', async () => {
    const server = await started(1, 20_000);
    const slow = await slowPut(server);
    const next = asking(server);
    await sleep(50);
    slow.destroy();
    expect((await next.answer()).status).toBe(200);
  });
});

it('the health of the server is told to whoever asks', async () => {
  const server = await started(1, 20_000);
  await slowPut(server);
  const asker = connection(server);
  asker.send('GET /.gos3rve/health HTTP/1.1\r\nHost: x\r\n\r\n');
  expect((await asker.answer()).status).toBe(200);
});

it('places are as many after hundreds of requests, refused ones among them', async () => {
  const server = await started(3, 5);
  const ask = async (): Promise<number> => {
    const one = asking(server, Math.random() < 0.5 ? '/photos/k' : '/photos/none');
    if (Math.random() < 0.2) {
      one.socket.resetAndDestroy();
      return 0;
    }
    return (await one.answer()).status;
  };
  for (let round = 0; round < 10; round++) await Promise.all(Array.from({ length: 30 }, ask));
  const slow = await Promise.all([slowPut(server), slowPut(server)]);
  expect((await asking(server).answer()).status).toBe(200);
  slow.push(await slowPut(server));
  expect((await asking(server).answer()).status).toBe(503);
});

it('0 is no limit', async () => {
  const server = await started(0, 5);
  await Promise.all([slowPut(server), slowPut(server)]);
  expect((await asking(server).answer()).status).toBe(200);
});
