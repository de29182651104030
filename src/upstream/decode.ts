import { type Duplex, pipeline, type Readable } from 'node:stream'
import zlib from 'node:zlib'
import type { HeaderFields } from '../errors.ts'
import { tokensOf } from '../http/fields.ts'
import { Inflate } from './inflate.ts'

const decoders: Readonly<Record<string, () => Duplex>> = {
  gzip: () => zlib.createGunzip(),
  'x-gzip': () => zlib.createGunzip(),
  deflate: () => new Inflate(),
  br: () => zlib.createBrotliDecompress(),
  // From Node 22.15 and 23.8 on.
  ...('createZstdDecompress' in zlib && { zstd: () => zlib.createZstdDecompress() }),
}

/** `none` is not registered, and what GraphQL Yoga and many Next.js routes say so that nothing compresses the stream. */
const noCodings = ['identity', 'none']

/** The most content codings that are taken off one body. */
const mostEncodings = 4

/** Whether all of the codings can be taken off. */
export function isDecodable(encodings: readonly string[]): boolean {
  // Each takes memory of its own, and makes more of what comes in.
  return encodings.length <= mostEncodings && encodings.every((coding) => Object.hasOwn(decoders, coding))
}

/** Takes the codings off a body, the last one first; each chunk comes out as far as it can be decoded. */
export function decodeBody(body: Readable, encodings: readonly string[]): Readable {
  return encodings.reduceRight<Readable>((encoded, coding) => {
    const decoder = decoders[coding]?.()
    // Errors reach whoever reads the decoder; pipeline passes them on in both directions.
    return decoder ? pipeline(encoded, decoder, () => {}) : encoded
  }, body)
}

/** The content codings of a body, in the order of their application; `identity` is none (RFC 9110, 8.4). */
export function codingsOf(headers: HeaderFields): string[] {
  const field = headers['content-encoding'] ?? []
  return tokensOf(typeof field === 'string' ? [field] : field).filter((coding) => !noCodings.includes(coding))
}
