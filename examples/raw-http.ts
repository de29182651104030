import http from 'node:http'
import { httpUpstream, relaySse } from 'resilient-sse'

const upstream = httpUpstream(process.env.UPSTREAM ?? 'http://localhost:3000/events')

const server = http.createServer((req, res) => {
  relaySse(req, res, upstream).catch((error) => {
    // A wrong option, or a fault in a function of yours.
    console.error(error)
    res.destroy(error)
  })
})
server.listen(Number(process.env.PORT ?? 8080), () => console.log('listening', server.address()))
