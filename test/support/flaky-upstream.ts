// The code is in the demonstration, which is published and cannot import from the tests.
export { cut, type Ending } from '../../src/demo/ending.ts'
export {
  type Answer,
  FlakyUpstream,
  inTwo,
  type Leave,
  type ReceivedRequest,
  type Steps,
} from '../../src/demo/flaky-upstream.ts'
export { dataOf, wireOf } from '../../src/demo/numbered-event.ts'
export { Publisher } from '../../src/demo/publisher.ts'
export { createRandom, oneOf, type Random, wholeBetween } from '../../src/demo/random.ts'
