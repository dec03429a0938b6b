/** The README's table of operations, made of the rows: it cannot promise what the table does not have. */
import { OPERATIONS } from './table.js';

/** Markdown, one line an operation in alphabetical order, without a final newline. */
export function operationsMarkdown(): string {
  const rows = [...OPERATIONS].sort((a, b) => (a.name < b.name ? -1 : 1));
  const supported = rows.filter((row) => row.handler !== undefined).length;
  return [
    `${supported} of ${rows.length} operations of the S3 API; the others answer 501 NotImplemented.`,
    '',
    '| Operation | Supported |',
    '| --- | --- |',
    ...rows.map((row) => `| ${row.name} | ${row.handler === undefined ? '501' : 'yes'} |`),
  ].join('\n');
}
