/** Scripts that complete commands in a shell, made of the table of commands. Only names of objects are asked for at run time. */
import { flagName, type Option } from '../base/options.js';
import type { Argument, Command } from './commands/command.js';

type Kind = Argument['complete'];

interface Flag {
  long: string;
  short: string | undefined;
  help: string;
  /** What its value is; undefined for a switch. */
  value: Kind | 'any' | undefined;
}

interface Subject {
  name: string;
  summary: string;
  flags: Flag[];
  /** Of all its arguments: commands with several take the same for each. */
  kind: Kind;
}

export function scriptFor(shell: 'bash' | 'zsh' | 'fish', commands: readonly Command[]): string {
  const subjects = commands.filter(({ hidden }) => hidden !== true).map(subjectOf);
  return `${{ bash, zsh, fish }[shell](subjects).join('\n')}\n`;
}

function subjectOf({ name, summary, arguments: args, options }: Command): Subject {
  const flags = Object.entries(options).map(([key, option]) => flagOf(key, option));
  const help = { long: 'help', short: 'h', help: 'print this help', value: undefined };
  return { name, summary, flags: [...flags, help], kind: args[0]?.complete ?? [] };
}

function flagOf(name: string, { value, negated, short, help }: Option<unknown>): Flag {
  return { long: `${negated ? 'no-' : ''}${flagName(name)}`, short, help, value: valueKind(value) };
}

/** `a|b` are words, `dir` is a directory. */
function valueKind(value: string | undefined): Flag['value'] {
  if (value === undefined) return undefined;
  if (value === 'dir') return 'directory';
  return /^[\w-]+(\|[\w-]+)+$/.test(value) ? value.split('|') : 'any';
}

function spellings({ long, short }: Flag): string[] {
  return short === undefined ? [`--${long}`] : [`-${short}`, `--${long}`];
}

function bash(subjects: readonly Subject[]): string[] {
  return [
    '# bash completion of gos3rve',
    '_gos3rve_names() {',
    '  mapfile -t COMPREPLY < <(gos3rve complete-names -- "$1" "${words[@]}" 2>/dev/null)',
    '  compopt -o filenames',
    '  if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]]; then compopt -o nospace; fi',
    '}',
    '_gos3rve_files() {',
    '  mapfile -t COMPREPLY < <(compgen "-$1" -- "$2")',
    '  compopt -o filenames',
    '}',
    // bash ends words at : and =, which may be in keys and are in --hash=off: they are put together again.
    '_gos3rve() {',
    '  local word= before= name= breaks= glued= i words=()',
    '  COMPREPLY=()',
    '  for ((i = 0; i <= COMP_CWORD; i++)); do',
    '    word=${COMP_WORDS[i]}',
    '    if [[ ${#words[@]} -gt 0 && ( -n $glued || $word =~ ^[:=]+$ ) ]]; then words[-1]+=$word; else words+=("$word"); fi',
    '    if [[ $word =~ ^[:=]+$ ]]; then glued=1; else glued=; fi',
    '  done',
    '  word=${words[-1]} before=${words[-2]}',
    '  for ((i = 1; i < ${#words[@]} - 1; i++)); do',
    '    if [[ ${words[i]} != -* ]]; then name=${words[i]}; break; fi',
    '  done',
    '  if [[ $word == --*=* ]]; then before=${word%%=*} word=${word#*=}; fi',
    `  case $word in [\\"\\']*) word=\${word:1} ;; *) word=\${word//\\\\/} ;; esac`,
    '  _gos3rve_words',
    '  if [[ $COMP_WORDBREAKS == *:* && $word == *[:=]* ]]; then',
    '    breaks=${word%"${word##*[:=]}"}',
    '    COMPREPLY=("${COMPREPLY[@]#"$breaks"}")',
    '  fi',
    '}',
    '_gos3rve_words() {',
    '  case $name in',
    `  '') ${bashWords(['--help', '--version', ...subjects.map(({ name }) => name)])} ;;`,
    ...subjects.flatMap(bashSubject),
    '  esac',
    '}',
    'complete -F _gos3rve gos3rve',
  ];
}

function bashSubject({ name, flags, kind }: Subject): string[] {
  const values = flags.flatMap((flag) =>
    flag.value === undefined ? [] : [`    ${spellings(flag).join('|')}) ${bashKind(flag.value)} return ;;`],
  );
  return [
    `  ${name})`,
    ...(values.length > 0 ? ['    case $before in', ...values, '    esac'] : []),
    `    if [[ $word == -* ]]; then ${bashWords(flags.flatMap(spellings))}; return; fi`,
    `    ${bashKind(kind)}`,
    '    ;;',
  ];
}

function bashKind(kind: Kind | 'any'): string {
  if (kind === 'any') return '';
  if (kind === 'directory') return '_gos3rve_files d "$word";';
  if (kind === 'file') return '_gos3rve_files f "$word";';
  const paths = '[[ $word == [./~]* ]]';
  if (kind === 'object' || kind === 'object-or-file')
    return `if ${paths}; then _gos3rve_files f "$word"; else _gos3rve_names "$word"; fi;`;
  return kind.length === 0 ? ':' : `${bashWords(kind)};`;
}

function bashWords(words: readonly string[]): string {
  return `mapfile -t COMPREPLY < <(compgen -W '${words.join(' ')}' -- "$word")`;
}

function zsh(subjects: readonly Subject[]): string[] {
  return [
    '#compdef gos3rve',
    '_gos3rve_names() {',
    '  if [[ $PREFIX == [./~]* ]]; then _files; return; fi',
    '  local -a found folders objects',
    '  found=("${(@f)$(gos3rve complete-names -- "${(Q)PREFIX}" "${(@Q)words}" 2>/dev/null)}")',
    '  folders=("${(@M)found:#*/}")',
    '  objects=("${(@)found:#*/}")',
    '  (( ${#${(@)folders:#}} )) && compadd -S \'\' -- "${(@)folders:#}"',
    '  (( ${#${(@)objects:#}} )) && compadd -- "${(@)objects:#}"',
    '}',
    '_gos3rve() {',
    '  if (( CURRENT == 2 )); then',
    '    local -a commands',
    `    commands=(${subjects.map(({ name, summary }) => quote(`${name}:${summary.replaceAll(':', '\\:')}`)).join(' ')})`,
    "    _describe 'command' commands",
    '    return',
    '  fi',
    '  local name=$words[2]',
    '  shift words',
    '  (( CURRENT-- ))',
    '  case $name in',
    ...subjects.flatMap(({ name, flags, kind }) => [
      `  ${name}) _arguments ${[...flags.flatMap(zshFlag), quote(`*:${name}:${zshKind(kind)}`)].join(' \\\n    ')} ;;`,
    ]),
    '  esac',
    '}',
    // Sourced, it registers itself; in fpath, #compdef does.
    'if [[ $funcstack[1] == _gos3rve ]]; then _gos3rve "$@"; else compdef _gos3rve gos3rve; fi',
  ];
}

function zshFlag(flag: Flag): string[] {
  const help = flag.help.replace(/[[\]:\\]/g, (char) => `\\${char}`);
  const value = flag.value === undefined ? '' : `:value:${zshKind(flag.value)}`;
  // `--hash off` and `--hash=off`
  const equals = flag.value !== undefined;
  return spellings(flag).map((flagText) =>
    quote(`${flagText}${equals && flagText.startsWith('--') ? '=' : ''}[${help}]${value}`),
  );
}

function zshKind(kind: Kind | 'any'): string {
  if (kind === 'any') return ' ';
  if (kind === 'directory') return '_files -/';
  if (kind === 'file') return '_files';
  return kind === 'object' || kind === 'object-or-file' ? '_gos3rve_names' : `(${kind.join(' ')})`;
}

function fish(subjects: readonly Subject[]): string[] {
  const on = (name: string): string => `complete -c gos3rve -n ${quote(`__fish_seen_subcommand_from ${name}`)}`;
  return [
    '# fish completion of gos3rve',
    'function __gos3rve_names',
    '  set -l typed (commandline -ct)',
    // in an open quote it ends nowhere
    `  set -l word (string unescape -- "$typed"; or string unescape -- "$typed\\""; or string unescape -- "$typed'")`,
    "  if string match -qr '^[./~]' -- $word",
    '    __fish_complete_path "$word"',
    '  else',
    '    gos3rve complete-names -- "$word" (commandline -opc) 2>/dev/null',
    '  end',
    'end',
    'complete -c gos3rve -f',
    ...subjects.map(
      ({ name, summary }) => `complete -c gos3rve -n __fish_use_subcommand -a ${name} -d ${quote(summary)}`,
    ),
    ...subjects.flatMap(({ name, flags, kind }) => [
      ...flags.map((flag) => {
        const short = flag.short === undefined ? '' : ` -s ${flag.short}`;
        const value = flag.value === undefined ? '' : ` -x${fishKind(flag.value)}`;
        return `${on(name)}${short} -l ${flag.long}${value} -d ${quote(flag.help)}`;
      }),
      ...(fishKind(kind) === '' ? [] : [on(name) + fishKind(kind)]),
    ]),
  ];
}

function fishKind(kind: Kind | 'any'): string {
  if (kind === 'any') return '';
  if (kind === 'directory') return " -a '(__fish_complete_directories)'";
  if (kind === 'file') return ' -F';
  if (kind === 'object') return " -a '(__gos3rve_names)'";
  if (kind === 'object-or-file') return " -F -a '(__gos3rve_names)'";
  return kind.length === 0 ? '' : ` -a ${quote(kind.join(' '))}`;
}

/** In single quotes, for all three. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
