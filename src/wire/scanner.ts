import { scannerBytes } from './scanner-bytes.ts'

/** Most bytes that the module scans in one call: as many as a socket gives at a time. */
export const sliceSize = 65_536
/** Where the slice stands in the module's memory. */
export const sliceAt = 64

/** The compiled scanner.wat, which says what the parameters and the state are. */
interface ScannerExports {
  readonly memory: { readonly buffer: ArrayBuffer }
  scan(
    size: number,
    once: number,
    state: number,
    unfinished: number,
    limit: number,
    headSize: number,
    headLow: number,
    headHigh: number,
  ): number
}

/** The part of the platform's WebAssembly that is used here; its types come only with those of browsers. */
declare const WebAssembly:
  | {
      readonly Module: new (bytes: Uint8Array) => object
      readonly Instance: new (module: object) => { readonly exports: ScannerExports }
    }
  | undefined

/** The scanner's module with its memory. */
export interface Scanner extends Pick<ScannerExports, 'scan'> {
  /** Room for a slice of {@link sliceSize} bytes. */
  readonly slice: Uint8Array
  /** What the last call has found; scanner.wat says what stands where. */
  readonly results: Int32Array
}

/** One for all connections, as it remembers nothing between two calls. */
let scanner: Scanner | undefined

/** @throws `Error` where the platform has no WebAssembly. */
export function loadScanner(): Scanner {
  scanner ??= compile()
  return scanner
}

function compile(): Scanner {
  if (typeof WebAssembly === 'undefined') {
    throw new Error('resilient-sse needs WebAssembly, which node --jitless turns off')
  }
  const module = new WebAssembly.Module(Buffer.from(scannerBytes, 'base64'))
  const { memory, scan } = new WebAssembly.Instance(module).exports
  return {
    scan,
    slice: new Uint8Array(memory.buffer, sliceAt, sliceSize),
    results: new Int32Array(memory.buffer, 0, 12),
  }
}
