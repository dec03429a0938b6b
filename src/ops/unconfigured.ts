/**
 * Reads of configurations that no bucket can have yet: their writes answer 501, so "nothing is configured" is the whole truth.
 *
 * Clients ask at start (s3cmd info, rclone, Terraform, consoles, backup programs) and give up on a 501, but know what to make of
 * S3's answer for a fresh bucket. A row here goes away when its configuration is implemented.
 */
import { S3Error, type ErrorCode } from '../base/errors.js';
import { el, type XmlElement } from '../wire/xml.js';
import type { Handler } from './types.js';

/** For what S3 has no empty document: 404 with a code of its own. */
function missing(code: ErrorCode): Handler {
  return async (_ctx, input) => {
    throw new S3Error(code, undefined, { data: { BucketName: input.bucket } });
  };
}

/** For what S3 has a document that says: off. */
function off(document: XmlElement): Handler {
  return async () => ({ xml: document });
}

export const getBucketLifecycleConfiguration = missing('NoSuchLifecycleConfiguration');
export const getObjectLockConfiguration = missing('ObjectLockConfigurationNotFoundError');
export const getBucketEncryption = missing('ServerSideEncryptionConfigurationNotFoundError');
export const getBucketWebsite = missing('NoSuchWebsiteConfiguration');
export const getBucketReplication = missing('ReplicationConfigurationNotFoundError');

export const getBucketLogging = off(el('BucketLoggingStatus', []));
export const getBucketAccelerateConfiguration = off(el('AccelerateConfiguration', []));
export const getBucketRequestPayment = off(el('RequestPaymentConfiguration', [el('Payer', 'BucketOwner')]));

/** GetObjectLegalHold and GetObjectRetention: what S3 says in a bucket that was made without object lock. */
export const getLockOfObject: Handler = async () => {
  throw new S3Error('InvalidRequest', 'Bucket is missing Object Lock Configuration');
};
