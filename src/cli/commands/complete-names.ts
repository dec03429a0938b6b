import { homedir } from 'node:os';
import { command } from './command.js';

/** Asked by the scripts of `completion`: prints the names of buckets and objects that a word can become. Never complains. */
export const completeNames = command({
  name: 'complete-names',
  summary: 'print names that begin with a word, for the completion of shells',
  arguments: [
    { name: 'word', help: 'what was typed so far', complete: [] },
    { name: 'line', help: 'the words of the line, for its --root', optional: true, variadic: true, complete: [] },
  ],
  options: {},
  examples: [],
  hidden: true,
  async run({ args, out }) {
    try {
      const [word = '', ...line] = args;
      const [{ findRoot }, { settingsOf }, { namesFor }] = await Promise.all([
        import('../root.js'),
        import('../settings.js'),
        import('../complete-names.js'),
      ]);
      const after = (flag: string): string | undefined => {
        const joined = line.find((one) => one.startsWith(`${flag}=`))?.slice(flag.length + 1);
        // as written: the shell has not taken its ~ away
        return (joined ?? line[line.indexOf(flag) + 1 || line.length])?.replace(/^~(?=\/|$)/, homedir());
      };
      const root = findRoot({
        flag: after('--root'),
        stateDir: after('--state-dir'),
        env: process.env,
        cwd: process.cwd(),
      });
      const aliases = new Map((await settingsOf(root, process.env)).bucket);
      const [scheme = ''] = /^s3:\/\//.exec(word) ?? [];
      for (const name of namesFor(word.slice(scheme.length), root.path, aliases)) await out.line(scheme + name);
    } catch {
      // a shell's line is no place for complaints
    }
  },
});
