/**
 * Loaded into the server (`node --import`), it loses two of three events of the system's watches, as a queue that runs over does - but without the
 * system telling that it did.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const { watch } = fs;
fs.watch = (...args) => {
  const listener = args.pop();
  return watch(...args, (...event) => {
    if (Math.random() < 1 / 3) listener(...event);
  });
};
syncBuiltinESMExports();
