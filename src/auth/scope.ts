/** From the text of a credential (`AKIA…/20130524/us-east-1/s3/aws4_request`) to the key that its signature is checked with. */
import { S3Error, type ErrorCode } from '../base/errors.js';
import { identityOf, type Keyring, type Scope } from './keyring.js';
import { signingKey } from './signature.js';

/** How the two places of a signature (header, query) word their complaints. */
export interface Complaint {
  code: ErrorCode;
  prefix: string;
}

/**
 * Finds the scope in the keyring's memory or derives it. The caller remembers it once the signature has proved right.
 * @param region the only region accepted, or `any`.
 * @param timestamp `YYYYMMDDTHHMMSSZ` of the request; the scope must be of the same day.
 * @throws InvalidAccessKeyId, or the complaint's code with AWS's wording.
 */
export function findScope(
  text: string,
  timestamp: string,
  region: string,
  keyring: Keyring,
  complaint: Complaint,
): Scope {
  const remembered = keyring.recallScope(text);
  const scope = remembered ?? parseScope(text, complaint);
  const day = timestamp.slice(0, 8);
  if (scope.date !== day) {
    throw refuse(
      complaint,
      `Invalid credential date "${scope.date}". This date is not the same as X-Amz-Date: "${day}".`,
    );
  }
  if (region !== 'any' && scope.region !== region) {
    throw refuse(complaint, `the region '${scope.region}' is wrong; expecting '${region}'`, { Region: region });
  }
  return 'key' in scope ? scope : derive(scope, keyring);
}

interface ParsedScope {
  accessKey: string;
  date: string;
  region: string;
  text: string;
}

/** The last four parts are the scope; an access key may itself hold slashes. */
function parseScope(text: string, complaint: Complaint): ParsedScope {
  const parts = text.split('/');
  const [date, region, service, terminal] = parts.slice(-4);
  const accessKey = parts.slice(0, -4).join('/');
  if (accessKey === '' || date === undefined || !region || service === undefined || terminal === undefined) {
    throw refuse(
      complaint,
      'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".',
    );
  }
  if (!/^\d{8}$/.test(date)) {
    throw refuse(
      complaint,
      `incorrect date format "${date}". This date in the credential must be in the format "yyyyMMdd".`,
    );
  }
  if (service !== 's3') {
    throw refuse(complaint, `incorrect service "${service}". This endpoint belongs to "s3".`);
  }
  if (terminal !== 'aws4_request') {
    throw refuse(complaint, `incorrect terminal "${terminal}". This endpoint uses "aws4_request".`);
  }
  return { accessKey, date, region, text: `${date}/${region}/s3/aws4_request` };
}

function derive({ accessKey, date, region, text }: ParsedScope, keyring: Keyring): Scope {
  const credential = keyring.byAccessKey(accessKey);
  if (credential === undefined) {
    throw new S3Error('InvalidAccessKeyId', undefined, { data: { AWSAccessKeyId: accessKey } });
  }
  const key = signingKey(credential.secretKey, date, region);
  return { credential, identity: identityOf(credential), date, region, text, key };
}

function refuse({ code, prefix }: Complaint, message: string, data: Record<string, string> = {}): S3Error {
  return new S3Error(code, `${prefix} ${message}`, { data });
}
