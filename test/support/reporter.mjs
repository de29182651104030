import { writeFileSync } from 'node:fs'
import Mocha from 'mocha'

const { Spec } = Mocha.reporters

/** The spec reporter, and the real counts in the file that `COUNTS_FILE` names, for the closing line of a run. */
export default class CountingReporter extends Spec {
  constructor(runner, options) {
    super(runner, options)
    runner.once('end', () => {
      const { passes, failures, pending } = this.stats
      if (process.env.COUNTS_FILE) {
        writeFileSync(process.env.COUNTS_FILE, JSON.stringify({ passes, failures, pending }))
      }
    })
  }
}
