/**
 * Preloaded into the binary (`node --import`): kills a move to another file system when the copy of an object named KILL_AT stands
 * (KILL_WHEN=published), or when its source is unlinked and nothing is recorded of that (KILL_WHEN=unlinked).
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const { KILL_AT, KILL_WHEN } = process.env;
const die = () => process.kill(process.pid, 'SIGKILL');

if (KILL_WHEN === 'unlinked') {
  const { unlinkSync } = fs;
  fs.unlinkSync = (path) => {
    unlinkSync(path);
    if (String(path).endsWith(`/${KILL_AT}`)) die();
  };
  syncBuiltinESMExports();
} else {
  const { Removing } = await import('../../dist/store/removing.js');
  const { same } = Removing.prototype;
  Removing.prototype.same = function (ref, ...rest) {
    if (ref.key.endsWith(`/${KILL_AT}`)) die();
    return same.call(this, ref, ...rest);
  };
}
