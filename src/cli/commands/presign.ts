import { UsageError } from '../../base/errors.js';
import { flag, maybe, one } from '../../base/options.js';
import { choice, duration, keyId, keyPart, size, text } from '../../base/values.js';
import { JSON_OPTION, ROOT_OPTIONS, command } from './command.js';

const HOUR_MS = 3_600_000;
const WEEK_MS = 7 * 24 * HOUR_MS;

export const presign = command({
  name: 'presign',
  summary: 'make a link to an object that works without credentials',
  arguments: [{ name: 'BUCKET/KEY', help: 'the object', complete: 'object' }],
  options: {
    expires: one({
      value: 'time',
      parse: validity,
      default: HOUR_MS,
      shown: '1h',
      help: 'how long it works: 30m, 1h, 7d at most',
    }),
    method: one({ value: 'GET|PUT|HEAD|DELETE', parse: method, default: 'GET', help: 'what the link allows' }),
    contentType: maybe({
      value: 'type',
      parse: text,
      help: 'PUT: the type that must be sent; GET: the type to be answered',
    }),
    publicUrl: maybe({
      value: 'url',
      parse: address,
      help: 'the address that clients use; a proxy takes its path away',
    }),
    endpoint: maybe({ value: 'url', parse: address, help: 'the address of the server, instead of the running one' }),
    virtualHost: flag('put the bucket into the host name'),
    post: flag('print address and fields of a form for uploads'),
    maxSize: maybe({ value: 'size', parse: size, help: 'with --post: the largest file' }),
    accessKey: maybe({ value: 'id', parse: keyId, help: 'sign with this key pair of the root' }),
    secretKey: maybe({
      value: 'secret',
      parse: keyPart,
      secret: true,
      help: 'secret of a key pair that only the server knows',
    }),
    ...JSON_OPTION,
    ...ROOT_OPTIONS,
  },
  examples: [
    { what: 'A link for an hour', line: 'gos3rve presign photos/2024/cat.jpg' },
    { what: 'An upload for ten minutes', line: 'gos3rve presign photos/dog.jpg --method PUT --expires 10m' },
  ],
  async run(call) {
    const { options, out } = call;
    if (!options.post && options.maxSize !== undefined) throw new UsageError('--max-size is for --post only');
    const [{ prepare, warnings }, { makeForm, makeLink }] = await Promise.all([
      import('../presigning.js'),
      import('../links.js'),
    ]);
    const prepared = await prepare(call);
    for (const warning of await warnings(call, prepared)) out.warn(warning);
    const { address, input } = prepared;
    if (options.post) {
      const size = options.maxSize === undefined ? {} : { size: { min: 0, max: options.maxSize } };
      const form = makeForm(address, { ...input, ...size });
      if (options.json) return out.json(form);
      await out.line(form.url);
      for (const [name, value] of Object.entries(form.fields)) await out.line(`${name}=${value}`);
      return;
    }
    const link = makeLink(address, options.method, input);
    await (options.json ? out.json(link) : out.line(link.url));
    for (const [name, value] of Object.entries(link.headers)) out.error(`to be sent with it: ${name}: ${value}`);
  },
});

function validity(written: string): number {
  const ms = duration(written);
  if (ms > WEEK_MS) throw new Error('is more than 7d, the longest that S3 allows');
  if (ms < 1000) throw new Error('is less than a second; write it like 30m, 1h or 7d');
  return ms;
}

const METHODS = choice('get', 'put', 'head', 'delete');
function method(written: string): string {
  try {
    return METHODS(written).toUpperCase();
  } catch {
    throw new Error('is none of GET, PUT, HEAD, DELETE');
  }
}

/** An http(s) URL without query; it may have a path. */
function address(written: string): { origin: string; path: string } {
  const parsed = URL.canParse(written) ? new URL(written) : undefined;
  if (!parsed || !/^https?:$/.test(parsed.protocol) || parsed.search || parsed.hash || parsed.username)
    throw new Error('is no URL; write it like https://s3.example.com');
  return { origin: parsed.origin, path: parsed.pathname.replace(/\/+$/, '') };
}
