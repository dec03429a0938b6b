/** One message to a webhook: signed, within a time limit, redirects not followed. */
import { createHmac } from 'node:crypto';
import type { Agent, request } from 'undici';
import type { EventTarget } from './targets.js';

export const SIGNATURE_HEADER = 'x-gos3rve-signature';

/** Why a message was not taken. The message names no secret and no path of the URL. */
export class DeliveryError extends Error {
  constructor(
    message: string,
    /** The target itself is in trouble, not this message. */
    readonly down: boolean,
  ) {
    super(message);
  }
}

/** `t=<seconds>,v1=<hex>`: HMAC-SHA256 of `<seconds>.<body>`. */
export function signature(secret: string, body: string, seconds: number): string {
  return `t=${seconds},v1=${createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex')}`;
}

export class Sender {
  private loaded: Promise<{ agent: Agent; request: typeof request }> | undefined;

  /** @param signal ends it early. @throws DeliveryError unless it was answered by 2xx. */
  async send(target: EventTarget, message: object, signal?: AbortSignal): Promise<void> {
    const { agent, request } = await (this.loaded ??= load());
    const body = JSON.stringify(message);
    const headers: Record<string, string> = { 'content-type': 'application/json', 'user-agent': 'gos3rve' };
    if (target.secret !== undefined)
      headers[SIGNATURE_HEADER] = signature(target.secret, body, Math.floor(Date.now() / 1000));
    if (target.authorization !== undefined) headers['authorization'] = target.authorization;
    const limit = AbortSignal.timeout(target.timeout);
    let status: number;
    try {
      const answer = await request(target.url, {
        method: 'POST',
        headers,
        body,
        dispatcher: agent,
        signal: signal ? AbortSignal.any([limit, signal]) : limit,
      });
      status = answer.statusCode;
      await answer.body.dump({ limit: 64 * 1024 }).catch(() => undefined);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
      throw new DeliveryError(
        limit.aborted ? 'it did not answer in time' : `it cannot be reached (${code ?? 'failed'})`,
        true,
      );
    }
    if (status >= 200 && status < 300) return;
    throw new DeliveryError(
      `it answered ${status}`,
      status >= 500 || status === 408 || status === 425 || status === 429,
    );
  }

  async close(): Promise<void> {
    const { agent } = (await this.loaded) ?? {};
    await agent?.destroy();
  }
}

/** Loaded only where there is somebody to send to. */
async function load(): Promise<{ agent: Agent; request: typeof request }> {
  const undici = await import('undici');
  return { agent: new undici.Agent({ connections: 16, keepAliveTimeout: 10_000 }), request: undici.request };
}
