// The floor of what goes through the JS SDK: a server that answers its requests from memory at once, so that what is left
// is the client's own. Prints its port; ends with its standard input.
import http from 'node:http'

const SIZE = 100 << 20
const content = Buffer.alloc(SIZE, 'x')
const sandbox = JSON.stringify({ sandboxID: 'ifloor', templateID: 'base', clientID: 'none', envdVersion: '0.5.0', envdAccessToken: '0'.repeat(64) })

function envelope(flags, value) {
  const message = Buffer.from(JSON.stringify(value))
  const head = Buffer.alloc(5)
  head.writeUInt8(flags, 0)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

const events = Buffer.concat([envelope(0, { event: { start: { pid: 7 } } }),
  envelope(0, { event: { end: { exited: true, status: 'exit status 0' } } }), envelope(2, {})])

function answer(req, res) {
  if (req.url.startsWith('/process.Process/Start')) return res.writeHead(200, { 'Content-Type': 'application/connect+json' }).end(events)
  if (req.url.startsWith('/files') && req.method === 'GET')
    return res.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': SIZE }).end(content)
  if (req.url.startsWith('/files'))
    return res.writeHead(200, { 'Content-Type': 'application/json' }).end('[{"name":"big","type":"file","path":"/home/user/big"}]')
  if (req.method === 'POST') return res.writeHead(201, { 'Content-Type': 'application/json' }).end(sandbox)
  res.writeHead(204).end()
}

const server = http.createServer((req, res) => {
  req.resume()
  req.on('end', () => answer(req, res))
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.resume().on('end', () => process.exit(0))
