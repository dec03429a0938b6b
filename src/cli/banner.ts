/** What `gos3rve serve` prints once it is ready: where it is, who may enter, and lines to paste for the usual clients. */
import { Chalk } from 'chalk';

export interface BannerFacts {
  version: string;
  /** As the user knows it. */
  root: string;
  endpoint: string;
  accessKey: string;
  /** The secret if it is to be shown. */
  secretKey?: string;
  /** Where the secret lies or came from; shown instead of it. */
  secretHint: string;
  region: string;
  /** Any other is accepted too. */
  anyRegion: boolean;
  /** Said below the facts, e.g. `read-only: nothing can be changed`. */
  remarks: readonly string[];
}

/** Text that ends in a line break; no line is longer than 80 columns unless a path or an address makes it so. */
export function banner(facts: BannerFacts, colour: boolean): string {
  const paint = colour ? new Chalk() : new Chalk({ level: 0 });
  const { endpoint, accessKey, secretKey, region } = facts;
  const row = (name: string, value: string) => `  ${paint.dim(name.padEnd(11))} ${value}`;
  const rows = [
    row('Endpoint', paint.cyan.underline(endpoint)),
    row('Access key', paint.bold(accessKey)),
    row('Secret key', secretKey === undefined ? facts.secretHint : paint.bold(secretKey)),
    row('Region', facts.anyRegion ? `${region}${paint.dim(', or any other')}` : region),
  ];
  const snippet = (name: string, lines: string[]) => [`  ${paint.dim(`# ${name}`)}`, ...lines.map((l) => `  ${l}`), ''];
  return (
    [
      '',
      `${paint.green.bold('gos3rve')} ${facts.version} serves ${paint.bold(facts.root)} as S3`,
      '',
      ...rows,
      ...facts.remarks.map((remark) => `  ${paint.yellow(remark)}`),
      '',
      ...snippet('keys, for all of these', [
        `export AWS_ACCESS_KEY_ID=${accessKey}`,
        `export AWS_SECRET_ACCESS_KEY=${secretKey ?? "'…'"}`,
      ]),
      ...snippet('aws', [`aws --endpoint-url ${endpoint} --region ${region} s3 ls`]),
      ...snippet('boto3', [
        `s3 = boto3.client("s3", region_name="${region}",`,
        `                  endpoint_url="${endpoint}")`,
      ]),
      ...snippet('rclone', [
        `rclone config create gos3rve s3 provider=Other env_auth=true \\`,
        `  region=${region} endpoint=${endpoint}`,
        'rclone lsd gos3rve:',
      ]),
      ...snippet('JavaScript (@aws-sdk/client-s3)', [
        `new S3Client({ region: "${region}", forcePathStyle: true,`,
        `               endpoint: "${endpoint}" })`,
      ]),
    ].join('\n') + '\n'
  );
}
