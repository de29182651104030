interface Answer {
  /** 0 when the demonstration does not answer. */
  readonly status: number
  readonly text: string
}

/** Asks the demonstration's server to do something. */
export type Ask = (path: string) => Promise<Answer>

export const ask: Ask = async (path) => {
  try {
    const response = await fetch(path, { method: 'POST' })
    return { status: response.status, text: await response.text() }
  } catch {
    return { status: 0, text: '' }
  }
}
