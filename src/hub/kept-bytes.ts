/** A small buffer that outlives its neighbours keeps a page of memory from being freed, so small copies may as well share a page. */
const pageOfMemory = 4096
/** Copies up to this size share memory: at least four of them. */
const mostShared = 1024

let memory = Buffer.allocUnsafeSlow(pageOfMemory)
let used = 0

/**
 * A copy of bytes to be kept for long. It keeps no more memory than a page besides itself, unlike a copy in Node's own pool, which other
 * code fills with bytes that are soon garbage.
 */
export function keptCopy(bytes: Buffer): Buffer {
  const { length } = bytes
  const copy = length > mostShared ? Buffer.allocUnsafeSlow(length) : takeShared(length)
  copy.set(bytes)
  return copy
}

function takeShared(length: number): Buffer {
  if (used + length > pageOfMemory) {
    memory = Buffer.allocUnsafeSlow(pageOfMemory)
    used = 0
  }
  used += length
  return memory.subarray(used - length, used)
}
