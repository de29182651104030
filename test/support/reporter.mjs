import { writeFileSync } from 'node:fs'
import Mocha from 'mocha'

const { Spec } = Mocha.reporters

/**
 * The spec reporter. It also leaves the real counts, the files, and what failed, in the file that `COUNTS_FILE` names, for the
 * closing lines of a run.
 */
export default class CountingReporter extends Spec {
  constructor(runner, options) {
    super(runner, options)
    const failed = []
    const files = new Set()
    runner.on('test end', ({ file }) => files.add(file))
    runner.on('fail', (test, error) => {
      failed.push({ title: test.fullTitle(), error: String(error?.stack ?? error) })
    })
    runner.once('end', () => {
      const { passes, failures } = this.stats
      if (process.env.COUNTS_FILE) {
        writeFileSync(
          process.env.COUNTS_FILE,
          JSON.stringify({ passes, failures, failed, files: [...files] }),
        )
      }
    })
  }
}
