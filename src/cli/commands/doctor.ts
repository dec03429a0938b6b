import { JSON_OPTION, ROOT_OPTIONS, command } from './command.js';

/** Something is found that does not work, or that puts data in danger. */
const FOUND = 2;

export const doctor = command({
  name: 'doctor',
  summary: 'look for what could go wrong, and tell the cure',
  arguments: [{ name: 'dir', help: 'the directory that is served', optional: true, complete: 'directory' }],
  options: { ...JSON_OPTION, ...ROOT_OPTIONS },
  examples: [
    { what: 'Before a directory is served for the first time', line: 'gos3rve doctor ~/media' },
    { what: 'What does not work, for a script', line: 'gos3rve doctor --json | jq \'select(.level == "problem")\'' },
  ],
  exits: { 0: 'no problem was found; there may be warnings', [FOUND]: 'a problem was found' },
  async run(call) {
    const { out, options, signal } = call;
    const root = await call.root({ named: call.args[0] });
    const [{ examine }, { excludedBy }, { settingsOf, excludePatterns }, { Report, lookForServer, openState }] =
      await Promise.all([
        import('../../jobs/doctor.js'),
        import('../../store/excludes.js'),
        import('../settings.js'),
        import('../doctor-report.js'),
      ]);
    const settings = await settingsOf(root, process.env);
    let printed = Promise.resolve();
    const findings = new Report(out.terminal, (text, finding) => {
      printed = printed.then(() => (options.json ? out.json(finding) : out.line(text)));
      // thrown once all was looked at
      printed.catch(() => undefined);
    });
    const report = findings.tell.bind(findings);
    lookForServer(root.stateDir, report);
    const store = await openState(root, () => call.store(root), report);
    await examine(
      {
        root: root.path,
        stateDir: root.stateDir,
        readOnly: settings.readOnly,
        symlinks: settings.symlinks,
        store,
        excluded: excludedBy(excludePatterns(settings)),
        signal,
        progress: (entries) => out.progress(`${entries.toLocaleString('en')} names looked at`),
      },
      report,
    );
    await printed;
    if (!options.json) await out.line(findings.summary());
    return findings.problems > 0 ? FOUND : 0;
  },
});
