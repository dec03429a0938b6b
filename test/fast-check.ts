/**
 * fast-check with its seed. Property tests try the same cases in each run, so that a run tells of the change and not of its luck.
 * `GOS3RVE_FULL=1`, which goes further in all things, draws others each time; `GOS3RVE_SEED=N` repeats one.
 */
import fc from 'fast-check';

const { GOS3RVE_SEED, GOS3RVE_FULL } = process.env;
if (GOS3RVE_SEED !== undefined || GOS3RVE_FULL === undefined) {
  fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(GOS3RVE_SEED ?? 20_261_121) });
}

export default fc;
