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

/** `none` is not registered. GraphQL Yoga and many Next.js routes send it to keep servers in front of them from compressing. */
const noCodings = ['identity', 'none']

/** The greatest number of content codings of a body that is decoded. */
const mostEncodings = 4

/** Whether a body with these codings can be decoded. */
export function isDecodable(encodings: readonly string[]): boolean {
  // Each decoder takes memory, and each one can multiply the size of its input.
  return encodings.length <= mostEncodings && encodings.every((coding) => Object.hasOwn(decoders, coding))
}

/** Decodes a body, the last coding first. Each chunk is decoded on arrival, as far as its bytes allow. */
export function decodeBody(body: Readable, encodings: readonly string[]): Readable {
  return encodings.reduceRight<Readable>((encoded, coding) => {
    const decoder = decoders[coding]?.()
    // pipeline passes errors on in both directions, so the reader of the last decoder gets them.
    return decoder ? pipeline(encoded, decoder, () => {}) : encoded
  }, body)
}

/** The content codings of a body, in the order of their application. `identity` is not a coding (RFC 9110, 8.4). */
export function codingsOf(headers: HeaderFields): string[] {
  const field = headers['content-encoding'] ?? []
  return tokensOf(typeof field === 'string' ? [field] : field).filter((coding) => !noCodings.includes(coding))
}
