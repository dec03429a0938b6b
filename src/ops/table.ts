/**
 * The one list of S3 operations, all of the S3 model's: the router matches on it, authorization takes its action from it,
 * the README's table is made of it. A row without a handler answers 501 NotImplemented.
 *
 * A row reads: name, `METHOD level ?query&parameters that must be there #header-that-must-be-there`, policy action, handler.
 * Where two rows fit a request alike, the upper one is taken: so deprecated twins stand below.
 */
import { getBucketAcl, getObjectAcl, putBucketAcl, putObjectAcl } from './acl.js';
import { getObjectAttributes } from './attributes.js';
import {
  createBucket,
  deleteBucket,
  getBucketLocation,
  getBucketVersioning,
  headBucket,
  listBuckets,
} from './buckets.js';
import { copyObject } from './copy.js';
import { deleteBucketCors, getBucketCors, putBucketCors } from './cors.js';
import { deleteObject, deleteObjects } from './delete.js';
import { listObjects, listObjectsV2 } from './list-objects.js';
import { listObjectVersions } from './list-versions.js';
import { makeMatcher } from './match.js';
import { completeMultipartUpload } from './multipart-complete.js';
import { abortMultipartUpload, createMultipartUpload } from './multipart-create.js';
import { listMultipartUploads, listParts } from './multipart-list.js';
import { precheckPart, uploadPart, uploadPartCopy } from './multipart-part.js';
import { getAtHand, getObject, headAtHand, headObject } from './objects-get.js';
import { getBucketNotificationConfiguration, putBucketNotificationConfiguration } from './notification.js';
import { precheckPut, putObject } from './objects-put.js';
import { deleteBucketOwnershipControls, getBucketOwnershipControls, putBucketOwnershipControls } from './ownership.js';
import { deleteBucketPolicy, getBucketPolicy, getBucketPolicyStatus, putBucketPolicy } from './policy.js';
import { deletePublicAccessBlock, getPublicAccessBlock, putPublicAccessBlock } from './public-access-block.js';
import { postObject } from './post.js';
import { renameObject } from './rename.js';
import {
  attributeRights,
  bodyTags,
  conditionRights,
  copyRights,
  copyTags,
  formRights,
  formTags,
  headerTags,
  moreDeleteRights,
  ofUpload,
  ofVersion,
  partCopyRights,
  putRights,
  writeRights,
} from './rights.js';
import {
  deleteBucketTagging,
  deleteObjectTagging,
  getBucketTagging,
  getObjectTagging,
  putBucketTagging,
  putObjectTagging,
} from './tagging.js';
import {
  getBucketAccelerateConfiguration,
  getBucketEncryption,
  getBucketLifecycleConfiguration,
  getBucketLogging,
  getBucketReplication,
  getBucketRequestPayment,
  getBucketWebsite,
  getLockOfObject,
  getObjectLockConfiguration,
} from './unconfigured.js';
import type { Handler, Level, Operation } from './types.js';

const METHODS: readonly Operation['method'][] = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE'];
const LEVELS: readonly Level[] = ['service', 'bucket', 'object'];

/** Makes a row; writes and body follow from the method unless `more` says otherwise. */
function row(name: string, route: string, action: string, handler?: Handler, more: Partial<Operation> = {}): Operation {
  const [verb, place, ...needs] = route.split(' ');
  const method = METHODS.find((m) => m === verb);
  const level = LEVELS.find((l) => l === place);
  if (method === undefined || level === undefined) throw new Error(`table.ts: the route of ${name} cannot be read`);
  const query = needs.find((need) => need.startsWith('?'))?.slice(1);
  const header = needs.find((need) => need.startsWith('#'))?.slice(1);
  return {
    name,
    method,
    level,
    action: `s3:${action}`,
    body: (method === 'PUT' || method === 'POST') && handler !== undefined ? 'xml' : 'none',
    writes: method !== 'GET' && method !== 'HEAD',
    ...(query === undefined ? {} : { query: query.split('&') }),
    ...(header === undefined ? {} : { header }),
    ...(handler === undefined ? {} : { handler }),
    ...more,
  };
}

const NO_BODY = { body: 'none' } as const;

const OBJECTS: readonly Operation[] = [
  row('GetObject', 'GET object', 'GetObject', getObject, {
    alsoNeeds: ofVersion('s3:GetObjectVersion'),
    atHand: getAtHand,
  }),
  row('HeadObject', 'HEAD object', 'GetObject', headObject, {
    alsoNeeds: ofVersion('s3:GetObjectVersion'),
    atHand: headAtHand,
  }),
  row('PutObject', 'PUT object', 'PutObject', putObject, {
    body: 'stream',
    precheck: precheckPut,
    alsoNeeds: putRights,
    tags: headerTags,
  }),
  row('CopyObject', 'PUT object #x-amz-copy-source', 'PutObject', copyObject, {
    ...NO_BODY,
    alsoNeeds: copyRights,
    tags: copyTags,
  }),
  // Not in the model, since no SDK sends it.
  row('PostObject', 'POST bucket', 'PutObject', postObject, { body: 'form', alsoNeeds: formRights, tags: formTags }),
  row('DeleteObject', 'DELETE object', 'DeleteObject', deleteObject, { alsoNeeds: moreDeleteRights }),
  row('DeleteObjects', 'POST bucket ?delete', 'DeleteObject', deleteObjects),
  row('RenameObject', 'PUT object ?renameObject', 'PutObject', renameObject, NO_BODY),
  row('GetObjectAttributes', 'GET object ?attributes', 'GetObject', getObjectAttributes, {
    alsoNeeds: attributeRights,
  }),
  row('GetObjectTagging', 'GET object ?tagging', 'GetObjectTagging', getObjectTagging, {
    alsoNeeds: ofVersion('s3:GetObjectVersionTagging'),
  }),
  row('PutObjectTagging', 'PUT object ?tagging', 'PutObjectTagging', putObjectTagging, {
    alsoNeeds: ofVersion('s3:PutObjectVersionTagging'),
    tags: bodyTags,
  }),
  row('DeleteObjectTagging', 'DELETE object ?tagging', 'DeleteObjectTagging', deleteObjectTagging, {
    alsoNeeds: ofVersion('s3:DeleteObjectVersionTagging'),
  }),
  row('GetObjectAcl', 'GET object ?acl', 'GetObjectAcl', getObjectAcl, {
    alsoNeeds: ofVersion('s3:GetObjectVersionAcl'),
  }),
  row('PutObjectAcl', 'PUT object ?acl', 'PutObjectAcl', putObjectAcl, {
    alsoNeeds: ofVersion('s3:PutObjectVersionAcl'),
  }),
  row('GetObjectLegalHold', 'GET object ?legal-hold', 'GetObjectLegalHold', getLockOfObject),
  row('PutObjectLegalHold', 'PUT object ?legal-hold', 'PutObjectLegalHold'),
  row('GetObjectRetention', 'GET object ?retention', 'GetObjectRetention', getLockOfObject),
  row('PutObjectRetention', 'PUT object ?retention', 'PutObjectRetention'),
  row('GetObjectTorrent', 'GET object ?torrent', 'GetObjectTorrent'),
  row('RestoreObject', 'POST object ?restore', 'RestoreObject'),
  row('SelectObjectContent', 'POST object ?select&select-type=2', 'GetObject', undefined, { writes: false }),
  row('UpdateObjectEncryption', 'PUT object ?encryption', 'UpdateObjectEncryption'),
  row('GetObjectAnnotation', 'GET object ?annotation&annotationName', 'GetObjectAnnotation'),
  row('ListObjectAnnotations', 'GET object ?annotation', 'ListObjectAnnotations'),
  row('PutObjectAnnotation', 'PUT object ?annotation&annotationName', 'PutObjectAnnotation'),
  row('DeleteObjectAnnotation', 'DELETE object ?annotation&annotationName', 'DeleteObjectAnnotation'),
];

const MULTIPART: readonly Operation[] = [
  row('CreateMultipartUpload', 'POST object ?uploads', 'PutObject', createMultipartUpload, {
    ...NO_BODY,
    alsoNeeds: writeRights,
    tags: headerTags,
  }),
  row('UploadPart', 'PUT object ?uploadId&partNumber', 'PutObject', uploadPart, {
    body: 'stream',
    precheck: precheckPart,
    terms: ofUpload,
  }),
  row('UploadPartCopy', 'PUT object ?uploadId&partNumber #x-amz-copy-source', 'PutObject', uploadPartCopy, {
    ...NO_BODY,
    alsoNeeds: partCopyRights,
    terms: ofUpload,
  }),
  row('ListParts', 'GET object ?uploadId', 'ListMultipartUploadParts', listParts, { terms: ofUpload }),
  row('CompleteMultipartUpload', 'POST object ?uploadId', 'PutObject', completeMultipartUpload, {
    terms: ofUpload,
    alsoNeeds: conditionRights,
  }),
  row('AbortMultipartUpload', 'DELETE object ?uploadId', 'AbortMultipartUpload', abortMultipartUpload, {
    terms: ofUpload,
  }),
  row('ListMultipartUploads', 'GET bucket ?uploads', 'ListBucketMultipartUploads', listMultipartUploads),
];

const BUCKETS: readonly Operation[] = [
  row('ListBuckets', 'GET service', 'ListAllMyBuckets', listBuckets),
  row('ListDirectoryBuckets', 'GET service', 'ListAllMyDirectoryBuckets'),
  row('CreateBucket', 'PUT bucket', 'CreateBucket', createBucket, { bucketOptional: true }),
  row('HeadBucket', 'HEAD bucket', 'ListBucket', headBucket),
  row('DeleteBucket', 'DELETE bucket', 'DeleteBucket', deleteBucket),
  row('ListObjects', 'GET bucket', 'ListBucket', listObjects),
  row('ListObjectsV2', 'GET bucket ?list-type=2', 'ListBucket', listObjectsV2),
  row('ListObjectVersions', 'GET bucket ?versions', 'ListBucketVersions', listObjectVersions),
  row('GetBucketLocation', 'GET bucket ?location', 'GetBucketLocation', getBucketLocation),
  row('GetBucketVersioning', 'GET bucket ?versioning', 'GetBucketVersioning', getBucketVersioning),
  row('PutBucketVersioning', 'PUT bucket ?versioning', 'PutBucketVersioning'),
  row('GetBucketTagging', 'GET bucket ?tagging', 'GetBucketTagging', getBucketTagging),
  row('PutBucketTagging', 'PUT bucket ?tagging', 'PutBucketTagging', putBucketTagging),
  row('DeleteBucketTagging', 'DELETE bucket ?tagging', 'PutBucketTagging', deleteBucketTagging),
  row('CreateSession', 'GET bucket ?session', 'CreateSession'),
  row('WriteGetObjectResponse', 'POST bucket #x-amz-request-route', 'WriteGetObjectResponse'),
];

const OWNERSHIP = 'BucketOwnershipControls';
const ACCESS: readonly Operation[] = [
  row('GetBucketAcl', 'GET bucket ?acl', 'GetBucketAcl', getBucketAcl),
  row('PutBucketAcl', 'PUT bucket ?acl', 'PutBucketAcl', putBucketAcl),
  row('GetBucketPolicy', 'GET bucket ?policy', 'GetBucketPolicy', getBucketPolicy),
  row('PutBucketPolicy', 'PUT bucket ?policy', 'PutBucketPolicy', putBucketPolicy),
  row('DeleteBucketPolicy', 'DELETE bucket ?policy', 'DeleteBucketPolicy', deleteBucketPolicy),
  row('GetBucketPolicyStatus', 'GET bucket ?policyStatus', 'GetBucketPolicyStatus', getBucketPolicyStatus),
  row('GetPublicAccessBlock', 'GET bucket ?publicAccessBlock', 'GetBucketPublicAccessBlock', getPublicAccessBlock),
  row('PutPublicAccessBlock', 'PUT bucket ?publicAccessBlock', 'PutBucketPublicAccessBlock', putPublicAccessBlock),
  row(
    'DeletePublicAccessBlock',
    'DELETE bucket ?publicAccessBlock',
    'PutBucketPublicAccessBlock',
    deletePublicAccessBlock,
  ),
  row('GetBucketOwnershipControls', 'GET bucket ?ownershipControls', `Get${OWNERSHIP}`, getBucketOwnershipControls),
  row('PutBucketOwnershipControls', 'PUT bucket ?ownershipControls', `Put${OWNERSHIP}`, putBucketOwnershipControls),
  row(
    'DeleteBucketOwnershipControls',
    'DELETE bucket ?ownershipControls',
    `Put${OWNERSHIP}`,
    deleteBucketOwnershipControls,
  ),
  row('GetBucketCors', 'GET bucket ?cors', 'GetBucketCORS', getBucketCors),
  row('PutBucketCors', 'PUT bucket ?cors', 'PutBucketCORS', putBucketCors),
  row('DeleteBucketCors', 'DELETE bucket ?cors', 'PutBucketCORS', deleteBucketCors),
  row('GetBucketAbac', 'GET bucket ?abac', 'GetBucketAbac'),
  row('PutBucketAbac', 'PUT bucket ?abac', 'PutBucketAbac'),
];

/** Configurations that S3 keeps by id: get, put and delete one, list all. */
function configurations(kind: string, plural: string, parameter: string, action: string): readonly Operation[] {
  return [
    row(`GetBucket${kind}`, `GET bucket ?${parameter}&id`, `Get${action}`),
    row(`ListBucket${plural}`, `GET bucket ?${parameter}`, `Get${action}`),
    row(`PutBucket${kind}`, `PUT bucket ?${parameter}&id`, `Put${action}`),
    row(`DeleteBucket${kind}`, `DELETE bucket ?${parameter}&id`, `Put${action}`),
  ];
}

const CONFIGURATION: readonly Operation[] = [
  row(
    'GetBucketLifecycleConfiguration',
    'GET bucket ?lifecycle',
    'GetLifecycleConfiguration',
    getBucketLifecycleConfiguration,
  ),
  row('PutBucketLifecycleConfiguration', 'PUT bucket ?lifecycle', 'PutLifecycleConfiguration'),
  row('DeleteBucketLifecycle', 'DELETE bucket ?lifecycle', 'PutLifecycleConfiguration'),
  row('GetBucketLifecycle', 'GET bucket ?lifecycle', 'GetLifecycleConfiguration', getBucketLifecycleConfiguration),
  row('PutBucketLifecycle', 'PUT bucket ?lifecycle', 'PutLifecycleConfiguration'),
  row(
    'GetObjectLockConfiguration',
    'GET bucket ?object-lock',
    'GetBucketObjectLockConfiguration',
    getObjectLockConfiguration,
  ),
  row('PutObjectLockConfiguration', 'PUT bucket ?object-lock', 'PutBucketObjectLockConfiguration'),
  row('GetBucketEncryption', 'GET bucket ?encryption', 'GetEncryptionConfiguration', getBucketEncryption),
  row('PutBucketEncryption', 'PUT bucket ?encryption', 'PutEncryptionConfiguration'),
  row('DeleteBucketEncryption', 'DELETE bucket ?encryption', 'PutEncryptionConfiguration'),
  row('GetBucketWebsite', 'GET bucket ?website', 'GetBucketWebsite', getBucketWebsite),
  row('PutBucketWebsite', 'PUT bucket ?website', 'PutBucketWebsite'),
  row('DeleteBucketWebsite', 'DELETE bucket ?website', 'DeleteBucketWebsite'),
  row('GetBucketReplication', 'GET bucket ?replication', 'GetReplicationConfiguration', getBucketReplication),
  row('PutBucketReplication', 'PUT bucket ?replication', 'PutReplicationConfiguration'),
  row('DeleteBucketReplication', 'DELETE bucket ?replication', 'PutReplicationConfiguration'),
  row(
    'GetBucketNotificationConfiguration',
    'GET bucket ?notification',
    'GetBucketNotification',
    getBucketNotificationConfiguration,
  ),
  row(
    'PutBucketNotificationConfiguration',
    'PUT bucket ?notification',
    'PutBucketNotification',
    putBucketNotificationConfiguration,
  ),
  row('GetBucketNotification', 'GET bucket ?notification', 'GetBucketNotification', getBucketNotificationConfiguration),
  row('PutBucketNotification', 'PUT bucket ?notification', 'PutBucketNotification', putBucketNotificationConfiguration),
  row('GetBucketLogging', 'GET bucket ?logging', 'GetBucketLogging', getBucketLogging),
  row('PutBucketLogging', 'PUT bucket ?logging', 'PutBucketLogging'),
  row('GetBucketRequestPayment', 'GET bucket ?requestPayment', 'GetBucketRequestPayment', getBucketRequestPayment),
  row('PutBucketRequestPayment', 'PUT bucket ?requestPayment', 'PutBucketRequestPayment'),
  row(
    'GetBucketAccelerateConfiguration',
    'GET bucket ?accelerate',
    'GetAccelerateConfiguration',
    getBucketAccelerateConfiguration,
  ),
  row('PutBucketAccelerateConfiguration', 'PUT bucket ?accelerate', 'PutAccelerateConfiguration'),
  ...configurations('AnalyticsConfiguration', 'AnalyticsConfigurations', 'analytics', 'AnalyticsConfiguration'),
  ...configurations('InventoryConfiguration', 'InventoryConfigurations', 'inventory', 'InventoryConfiguration'),
  ...configurations('MetricsConfiguration', 'MetricsConfigurations', 'metrics', 'MetricsConfiguration'),
  ...configurations(
    'IntelligentTieringConfiguration',
    'IntelligentTieringConfigurations',
    'intelligent-tiering',
    'IntelligentTieringConfiguration',
  ),
];

const METADATA_TABLES: readonly Operation[] = [
  row(
    'CreateBucketMetadataConfiguration',
    'POST bucket ?metadataConfiguration',
    'CreateBucketMetadataTableConfiguration',
  ),
  row('GetBucketMetadataConfiguration', 'GET bucket ?metadataConfiguration', 'GetBucketMetadataTableConfiguration'),
  row(
    'DeleteBucketMetadataConfiguration',
    'DELETE bucket ?metadataConfiguration',
    'DeleteBucketMetadataTableConfiguration',
  ),
  row('CreateBucketMetadataTableConfiguration', 'POST bucket ?metadataTable', 'CreateBucketMetadataTableConfiguration'),
  row('GetBucketMetadataTableConfiguration', 'GET bucket ?metadataTable', 'GetBucketMetadataTableConfiguration'),
  row(
    'DeleteBucketMetadataTableConfiguration',
    'DELETE bucket ?metadataTable',
    'DeleteBucketMetadataTableConfiguration',
  ),
  row(
    'UpdateBucketMetadataInventoryTableConfiguration',
    'PUT bucket ?metadataInventoryTable',
    'UpdateBucketMetadataInventoryTableConfiguration',
  ),
  row(
    'UpdateBucketMetadataJournalTableConfiguration',
    'PUT bucket ?metadataJournalTable',
    'UpdateBucketMetadataJournalTableConfiguration',
  ),
  row(
    'UpdateBucketMetadataAnnotationTableConfiguration',
    'PUT bucket ?metadataAnnotationTable',
    'UpdateBucketMetadataAnnotationTableConfiguration',
  ),
];

export const OPERATIONS: readonly Operation[] = [
  ...OBJECTS,
  ...MULTIPART,
  ...BUCKETS,
  ...ACCESS,
  ...CONFIGURATION,
  ...METADATA_TABLES,
];

/** Finds the operation of a request; see {@link makeMatcher}. */
export const matchOperation = makeMatcher(OPERATIONS);
