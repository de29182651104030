// The ledger is in the demonstration, which is shipped and cannot import from the tests.
export { type Arrival, Ledger, numbered } from '../../src/demo/ledger.ts'
