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
    /** ms for which it asked to be left alone. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

/** `t=<seconds>,v1=<hex>`: HMAC-SHA256 of `<seconds>.<body>`. */
export function signature(secret: string, body: string, seconds: number): string {
  return `t=${seconds},v1=${createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex')}`;
}

/** Answers that speak of this message; every other but 2xx, 404 and redirects too, of the target or of its settings. */
const OF_THE_MESSAGE: ReadonlySet<number> = new Set([400, 406, 409, 411, 412, 413, 415, 422]);
const MAX_RETRY_AFTER_MS = 3_600_000;

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
    let wait: number | undefined;
    try {
      const answer = await request(target.url, {
        method: 'POST',
        headers,
        body,
        dispatcher: agent,
        signal: signal ? AbortSignal.any([limit, signal]) : limit,
      });
      status = answer.statusCode;
      wait = retryAfter(answer.headers['retry-after']);
      await answer.body.dump({ limit: 64 * 1024 }).catch(() => undefined);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
      throw new DeliveryError(
        limit.aborted ? 'it did not answer in time' : `it cannot be reached (${code ?? 'failed'})`,
        true,
      );
    }
    if (status >= 200 && status < 300) return;
    throw new DeliveryError(`it answered ${status}`, !OF_THE_MESSAGE.has(status), wait);
  }

  async close(): Promise<void> {
    const { agent } = (await this.loaded) ?? {};
    await agent?.destroy();
  }
}

/** Retry-After (RFC 9110, 10.2.3): seconds or a date. @returns ms from now, an hour at most; undefined if it says nothing. */
export function retryAfter(header: string | string[] | undefined): number | undefined {
  const written = (Array.isArray(header) ? header[0] : header)?.trim() ?? '';
  const ms = /^\d+$/.test(written) ? Number(written) * 1000 : Date.parse(written) - Date.now();
  return Number.isFinite(ms) && ms > 0 ? Math.min(ms, MAX_RETRY_AFTER_MS) : undefined;
}

/** Loaded only where there is somebody to send to. */
async function load(): Promise<{ agent: Agent; request: typeof request }> {
  const undici = await import('undici');
  return { agent: new undici.Agent({ connections: 16, keepAliveTimeout: 10_000 }), request: undici.request };
}
