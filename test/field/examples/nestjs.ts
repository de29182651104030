import 'reflect-metadata'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { Controller, Get, HttpCode, Module, Post, Req, Res } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { createSseHub, httpUpstream, relaySse, type SharedStreamOptions } from 'resilient-sse'

const {
  UPSTREAM = 'http://localhost:3000/events',
  MODEL = 'http://localhost:3000/answer',
  PORT = 8080,
} = process.env
const upstream = httpUpstream(UPSTREAM)
const hub = createSseHub()

/** The model is asked once. Its answer is read to the end, and kept for readers that come late or come back. */
const session: SharedStreamOptions = {
  from: 'start',
  linger: Number.POSITIVE_INFINITY,
  resume: 'before-first-event',
  isTerminal: ({ data }) => data === '[DONE]',
}
const answerTo = (body: string) =>
  httpUpstream(MODEL, { method: 'POST', headers: { 'content-type': 'application/json' }, body })

@Controller()
class StreamsController {
  // Each client has an upstream connection of its own.
  @Get('events')
  async events(@Req() req: IncomingMessage, @Res() res: ServerResponse) {
    await relaySse(req, res, upstream)
  }

  // All clients share one upstream connection.
  @Get('feed')
  async feed(@Req() req: IncomingMessage, @Res() res: ServerResponse) {
    await hub.relay(req, res, 'feed', upstream)
  }

  // A session, which goes on while its client is away. Decide here who may ask, and who may read which answer.
  @Post('answers/:name')
  @HttpCode(202)
  async ask(@Req() req: IncomingMessage) {
    await hub.start(`${req.url}`, answerTo(await text(req)), session)
  }

  @Get('answers/:name')
  async answer(@Req() req: IncomingMessage, @Res() res: ServerResponse) {
    await hub.relay(req, res, `${req.url}`, undefined, session)
  }
}

@Module({ controllers: [StreamsController] })
class StreamsModule {}

const app = await NestFactory.create(StreamsModule, { bodyParser: false })
await app.listen(PORT)
console.log('listening', app.getHttpServer().address())
