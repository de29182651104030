import type { Readable } from 'node:stream'

/**
 * Lets a stream give nothing more once it is destroyed.
 *
 * Up to Node 24 a stream that flows goes on with what it has buffered. A web stream that `Readable.toWeb` has made of it
 * is closed by then, where its consumer has cancelled it, and throws `ERR_INVALID_STATE` that nobody can catch.
 */
export function withoutLateData<S extends Readable>(stream: S): S {
  const { read } = stream
  stream.read = (size) => (stream.destroyed ? null : read.call(stream, size))
  return stream
}
