import { scannerBytes } from './scanner-bytes.ts'

/** The most bytes that the module scans in one call: the size of the largest chunk of a socket. */
export const sliceSize = 65_536
/** The address of the slice in the module's memory. */
export const sliceAt = 64

/** The exports of scanner.wat, which documents the parameters and the state. */
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

/** The part of WebAssembly that is used here: TypeScript declares its types only in the library `dom`. */
declare const WebAssembly:
  | {
      readonly Module: new (bytes: Uint8Array) => object
      readonly Instance: new (module: object) => { readonly exports: ScannerExports }
    }
  | undefined

/** The scanner's module with its memory. */
export interface Scanner extends Pick<ScannerExports, 'scan'> {
  /** The module's memory for a slice of {@link sliceSize} bytes. */
  readonly slice: Uint8Array
  /** The results of the latest call; scanner.wat documents their layout. */
  readonly results: Int32Array
}

/** Shared by all connections: the module keeps no state between two calls. */
let scanner: Scanner | undefined

/** @throws `Error` when the platform has no WebAssembly. */
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
