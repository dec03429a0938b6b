/**
 * What linear-client.js asks of a store, asked of a running server by S3 requests. Moves, which S3 does not have, go through a store that this process opens
 * beside it, as the `mv` command does.
 *
 * GOS3RVE_LINEAR: `{ endpoint, accessKeyId, secretAccessKey, store }` in JSON, `store` the module with the real `openStore`.
 */
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { pathToFileURL } from 'node:url';

const { store: door, endpoint, ...credentials } = JSON.parse(process.env.GOS3RVE_LINEAR ?? '{}');
/** Codes that have another name in S3, and answers to HEAD, which have no body to tell theirs. */
const CODES = { NotFound: 'NoSuchKey', ConditionalRequestConflict: 'OperationAborted', 412: 'PreconditionFailed' };

export async function openStore(root, options) {
  const { openStore: openBeside } = await import(pathToFileURL(door).href);
  const beside = await openBeside(root, options);
  // an attempt that is repeated by itself would be two operations
  const s3 = new S3Client({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1 });

  const ask = async (command) => {
    try {
      return await s3.send(command);
    } catch (error) {
      const name =
        error.name === 'Unknown' || error.name === 'UnknownError' ? error.$metadata?.httpStatusCode : error.name;
      throw Object.assign(new Error(`${name}: ${error.message}`, { cause: error }), {
        code: CODES[name] ?? String(name),
      });
    }
  };
  const bare = (etag) => etag?.replaceAll('"', '');
  const conditions = ({ ifMatch, ifNoneMatch } = {}) => ({ IfMatch: ifMatch?.[0], IfNoneMatch: ifNoneMatch?.[0] });

  return {
    async open(Bucket, Key) {
      const { Body, ETag, Metadata } = await ask(new GetObjectCommand({ Bucket, Key }));
      const bytes = await Body.transformToByteArray();
      return {
        info: { size: bytes.length, etag: bare(ETag), facts: { metadata: Metadata } },
        read: (from, to, give) => give(bytes.subarray(from, to)),
        close: () => undefined,
      };
    },
    async head(Bucket, Key) {
      const { ETag, Metadata } = await ask(new HeadObjectCommand({ Bucket, Key }));
      return { etag: bare(ETag), facts: { metadata: Metadata } };
    },
    async put(Bucket, Key, { chunks }, { facts, condition }) {
      const parts = [];
      for await (const chunk of chunks) parts.push(chunk);
      const Body = Buffer.concat(parts);
      const asked = { Bucket, Key, Body, Metadata: facts.metadata, ...conditions(condition) };
      return { etag: bare((await ask(new PutObjectCommand(asked))).ETag) };
    },
    /** S3 does not say whether there was anything. */
    async delete(Bucket, Key, { condition } = {}) {
      await ask(new DeleteObjectCommand({ Bucket, Key, ...conditions(condition) }));
      return undefined;
    },
    /** S3 says the ETag of what was copied, and no metadata. */
    async copy({ bucket: Bucket, key }, { key: Key }) {
      const { CopyObjectResult } = await ask(new CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/${key}` }));
      return { etag: bare(CopyObjectResult?.ETag), facts: {} };
    },
    move: (from, to) => beside.move(from, to),
    async close() {
      s3.destroy();
      await beside.close();
    },
  };
}
