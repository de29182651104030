import type { Readable } from 'node:stream'

/**
 * Makes a stream emit no data after it was destroyed.
 *
 * Up to Node 24 a flowing stream still emits its buffered chunks after `destroy()`. If `Readable.toWeb` has made a web stream
 * of it and the consumer has cancelled the web stream, each such chunk causes an uncaught `ERR_INVALID_STATE`.
 */
export function withoutLateData<S extends Readable>(stream: S): S {
  const { read } = stream
  stream.read = (size) => (stream.destroyed ? null : read.call(stream, size))
  return stream
}
