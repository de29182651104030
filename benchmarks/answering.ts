// The inner side of a process that is asked over IPC: one answer for each question, in order.

/** Milliseconds of a clock that all processes of the machine share. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** Answers `{ ask: name, … }` with `{ answer }`, or with `{ error }` when that throws; ends with the channel. */
export function answerWith<Question extends { ask: string }>(answer: (question: Question) => unknown): void {
  process.on('disconnect', () => process.exit())
  process.on('message', async (message: Question) => {
    try {
      process.send?.({ answer: await answer(message) })
    } catch (error) {
      process.send?.({ error: error instanceof Error ? error.message : String(error) })
    }
  })
}
