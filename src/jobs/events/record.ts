/** The event record of S3, version 2.1 (User Guide, "Event message structure"). */
import { encodeKey } from '../../wire/keys.js';
import type { Change } from '../../store/changes-contract.js';

export interface RecordContext {
  region: string;
  /** Id of the rule that asked for it; '' if none did. */
  configurationId: string;
  /** Owner of the bucket. */
  owner: string;
}

export interface EventRecord {
  eventVersion: '2.1';
  /** What consumers of S3 events look for. */
  eventSource: 'aws:s3';
  awsRegion: string;
  eventTime: string;
  /** Without `s3:`. */
  eventName: string;
  userIdentity: { principalId: string };
  requestParameters: { sourceIPAddress: string };
  responseElements: { 'x-amz-request-id': string; 'x-amz-id-2': string };
  s3: {
    s3SchemaVersion: '1.0';
    configurationId: string;
    bucket: { name: string; ownerIdentity: { principalId: string }; arn: string };
    object: { key: string; size?: number; eTag?: string; sequencer: string };
  };
}

/** Who did it, where no access key did: another program, or a command on this machine. */
const OUTSIDE = 'outside';
const COMMAND = 'gos3rve';

export function eventRecord(
  change: Change,
  name: { bucket: string; key: string },
  context: RecordContext,
): EventRecord {
  const sequencer = sequencerOf(change.seq);
  const { size, etag } = change;
  const removed = change.event.startsWith('ObjectRemoved:');
  return {
    eventVersion: '2.1',
    eventSource: 'aws:s3',
    awsRegion: context.region,
    eventTime: new Date(change.time).toISOString(),
    eventName: change.event,
    userIdentity: { principalId: change.principal ?? (change.outside ? OUTSIDE : COMMAND) },
    requestParameters: { sourceIPAddress: change.ip ?? '127.0.0.1' },
    responseElements: { 'x-amz-request-id': change.requestId ?? sequencer, 'x-amz-id-2': sequencer },
    s3: {
      s3SchemaVersion: '1.0',
      configurationId: context.configurationId,
      bucket: {
        name: name.bucket,
        ownerIdentity: { principalId: context.owner },
        arn: `arn:aws:s3:::${name.bucket}`,
      },
      object: {
        key: encodedKey(name.key),
        ...(!removed && size !== undefined && { size }),
        ...(!removed && etag !== undefined && { eTag: etag }),
        sequencer,
      },
    },
  };
}

/** Of the same length each: S3 has two of one key compared as text. */
function sequencerOf(seq: number): string {
  return seq.toString(16).toUpperCase().padStart(18, '0');
}

/** As in a query, with `+` for a space; `/` stays. */
function encodedKey(key: string): string {
  return encodeKey(key).replaceAll('%20', '+');
}

/** S3's message to a target that is configured anew. */
export function testMessage(bucket: string, requestId: string): object {
  return {
    Service: 'Amazon S3',
    Event: 's3:TestEvent',
    Time: new Date().toISOString(),
    Bucket: bucket,
    RequestId: requestId,
    HostId: requestId,
  };
}
