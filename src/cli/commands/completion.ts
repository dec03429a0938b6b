import { UsageError } from '../../base/errors.js';
import { command, type Command } from './command.js';

const SHELLS = ['bash', 'zsh', 'fish'] as const;

/** @param all the table, which this command is part of. */
export const completion = (all: () => readonly Command[]): Command =>
  command({
    name: 'completion',
    summary: 'print a script that completes commands in a shell',
    arguments: [{ name: 'bash|zsh|fish', help: 'the shell', complete: SHELLS }],
    options: {},
    examples: [
      { what: 'In ~/.bashrc', line: 'source <(gos3rve completion bash)' },
      { what: 'In ~/.zshrc, after compinit', line: 'source <(gos3rve completion zsh)' },
      { what: 'For fish', line: 'gos3rve completion fish > ~/.config/fish/completions/gos3rve.fish' },
    ],
    async run({ args, out }) {
      const shell = SHELLS.find((name) => name === args[0]);
      if (shell === undefined)
        throw new UsageError(`"${args[0] ?? ''}" is no shell known here; write bash, zsh or fish`);
      const { scriptFor } = await import('../completion.js');
      await out.bytes(scriptFor(shell, all()));
    },
  });
