/** S3's rules for the names of new buckets (User Guide, "General purpose bucket naming rules"). */
import { S3Error } from '../base/errors.js';

const FORBIDDEN_PREFIXES = ['xn--', 'sthree-', 'amzn-s3-demo-'];
const FORBIDDEN_SUFFIXES = ['-s3alias', '--ol-s3', '.mrap', '--x-s3', '--table-s3'];

/** @throws InvalidBucketName naming the rule that is broken. */
export function checkBucketName(name: string): void {
  const fault = faultOf(name);
  if (fault === undefined) return;
  throw new S3Error('InvalidBucketName', `The specified bucket is not valid: a bucket name ${fault}.`, {
    data: { BucketName: name },
  });
}

/** What is wrong with a name as a new bucket's, or undefined. */
function faultOf(name: string): string | undefined {
  if (name.length < 3 || name.length > 63) return 'has 3 to 63 characters';
  if (!/^[a-z0-9.-]+$/.test(name)) return 'consists of lower case letters, digits, dots and hyphens';
  if (!/^[a-z0-9].*[a-z0-9]$/.test(name)) return 'begins and ends with a letter or digit';
  // Each label between dots is a host name's: no empty one, none that begins or ends with a hyphen.
  if (/\.\.|\.-|-\./.test(name)) return 'has no dot beside a dot or hyphen';
  if (/^\d+\.\d+\.\d+\.\d+$/.test(name)) return 'is not formed like an IP address';
  const prefix = FORBIDDEN_PREFIXES.find((p) => name.startsWith(p));
  if (prefix !== undefined) return `does not begin with ${prefix}`;
  const suffix = FORBIDDEN_SUFFIXES.find((s) => name.endsWith(s));
  return suffix === undefined ? undefined : `does not end with ${suffix}`;
}
