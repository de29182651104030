import type { RequestListener } from 'node:http'
import { createSseHub } from '../../dist/index.js'
import { sessions } from './sessions.ts'

export default function relay(upstream: URL): RequestListener {
  return sessions(createSseHub(), upstream)
}
