/**
 * The one list of commands: the command line, its help and the shells' completion are made of it, and test/cli/commands.test.ts holds
 * manual pages, README and `package.json` against it.
 *
 * To add one:
 * 1. Write its section of the README (`### gos3rve <name>`) and `man/gos3rve-<name>.1`: SYNOPSIS, every option as `.It Fl Fl <name>`, EXIT STATUS.
 *    List the page in `man` of package.json, and the command in man/gos3rve.1.
 * 2. `src/cli/commands/<name>.ts`: `export const <name> = command({ … })`; see command.ts. Options are rows like those of base/options.ts
 *    (`...ROOT_OPTIONS, ...JSON_OPTION, dryRun`), objects are read from arguments by `parseTarget` (../target.ts).
 * 3. Import it here and put it into the list, in the order of help.
 * 4. `npx vitest run --project fast test/cli/commands.test.ts`
 */
import type { Command } from './command.js';
import { completion } from './completion.js';
import { completeNames } from './complete-names.js';
import { cp } from './cp.js';
import { ls } from './ls.js';
import { rm } from './rm.js';
import { stat } from './stat.js';
import { gc } from './gc.js';
import { doctor } from './doctor.js';
import { mv } from './mv.js';
import { presign } from './presign.js';
import { serve } from './serve.js';
import { verify } from './verify.js';
import { watch } from './watch.js';

export const COMMANDS: readonly Command[] = [
  serve,
  watch,
  ls,
  stat,
  cp,
  mv,
  rm,
  presign,
  gc,
  verify,
  doctor,
  completion(() => COMMANDS),
  completeNames,
];
