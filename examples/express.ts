import express from 'express'
import { httpUpstream, relaySse } from 'resilient-sse'

const upstream = httpUpstream(process.env.UPSTREAM ?? 'http://localhost:3000/events')

const app = express().get('/events', async (req, res) => {
  await relaySse(req, res, upstream)
})
const server = app.listen(Number(process.env.PORT ?? 8080), () => console.log('listening', server.address()))
