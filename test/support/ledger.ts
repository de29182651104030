// The code is in the demonstration, which is published and cannot import from the tests.
export { type Arrival, Ledger, numbered } from '../../src/demo/ledger.ts'
