interface Chunks<Chunk> {
  /** A buffered chunk; null without one. */
  read(): Chunk | null
}

/**
 * Makes Node's async iterator of a Readable give buffered chunks at once. It is a generator, and takes several turns of the microtask
 * queue for each chunk otherwise: a large part of what an event costs. It still starts, waits, ends and fails as before.
 */
export function withQuickReads<Chunk>(
  iterator: NodeJS.AsyncIterator<Chunk>,
  stream: Chunks<Chunk>,
): NodeJS.AsyncIterator<Chunk> {
  const next = iterator.next.bind(iterator)
  /** Before its first chunk the iterator does not observe the stream, and would not destroy it. */
  let isStarted = false
  /** How many requests the iterator has not answered. A later request must not overtake them. */
  let waiting = 0
  const onAnswer = () => {
    waiting--
  }
  iterator.next = () => {
    const chunk = isStarted && waiting === 0 ? stream.read() : null
    if (chunk !== null) return Promise.resolve({ done: false, value: chunk })
    isStarted = true
    waiting++
    const answer = next()
    answer.then(onAnswer, onAnswer)
    return answer
  }
  return iterator
}
