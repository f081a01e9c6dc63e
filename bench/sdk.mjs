// Times an unmodified npm `e2b` beside the same requests made by a bare Node http client, sample by sample in one process,
// and prints one line of JSON, all times in milliseconds.
//
// Usage: sdk.mjs MODULES PACKAGE [SAMPLES]     (MODULES: a node_modules directory; the server: E2B_API_URL, E2B_SANDBOX_URL)
import http from 'node:http'
import { randomBytes } from 'node:crypto'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [modules, name, samples = '100'] = process.argv.slice(2)
const { Sandbox } = await import(pathToFileURL(path.join(modules, name, 'dist/index.mjs')))
const base = new URL(process.env.E2B_SANDBOX_URL)
const agent = new http.Agent({ keepAlive: true })
const SIZE = 100 << 20

const percentile = (all, p) => [...all].sort((a, b) => a - b)[Math.floor((all.length - 1) * p)]
const summary = (all) => ({ n: all.length, p50_ms: percentile(all, 0.5), p95_ms: percentile(all, 0.95) })

async function timed(fn) {
  const begin = performance.now()
  const value = await fn()
  return [performance.now() - begin, value]
}

/** One request; resolves with the number of bytes of the reply. */
function request(method, target, headers, body) {
  return new Promise((resolve, reject) => {
    const req = http.request({ agent, host: base.hostname, port: base.port, method, path: target, headers }, (res) => {
      let n = 0
      res.on('data', (d) => (n += d.length))
      res.on('end', () => (res.statusCode < 300 ? resolve(n) : reject(new Error(`${target}: ${res.statusCode}`))))
    })
    req.on('error', reject)
    req.end(body)
  })
}

/** The same by Node's own fetch(), on which the SDK stands. */
async function fetched(method, headers, body) {
  const reply = await fetch(new URL('/files?path=big', base), { method, headers, body })
  if (!reply.ok) throw new Error(`fetch: ${reply.status}`)
  return (await reply.arrayBuffer()).byteLength
}

function fields(sbx, more) {
  return { 'E2b-Sandbox-Id': sbx.sandboxId, 'E2b-Sandbox-Port': '49983', 'X-Access-Token': sbx.envdAccessToken, ...more }
}

/** What commands.run('true') sends, without the SDK. */
function bareExec(sbx) {
  const message = Buffer.from(JSON.stringify({ process: { cmd: '/bin/bash', args: ['-l', '-c', 'true'] }, stdin: false }))
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  const headers = fields(sbx, { 'Content-Type': 'application/connect+json', 'Connect-Protocol-Version': '1',
    'Keepalive-Ping-Interval': '50', 'Connect-Timeout-Ms': '60000', 'Content-Length': head.length + message.length })
  return request('POST', '/process.Process/Start', headers, Buffer.concat([head, message]))
}

async function creates(n) {
  const all = []
  for (let i = 0; i < n + 3; i++) {
    const [ms, sbx] = await timed(async () => {
      const made = await Sandbox.create()
      await made.commands.run('true')
      return made
    })
    await sbx.kill()
    if (i >= 3) all.push(ms)
  }
  return summary(all)
}

async function execs(n) {
  const sbx = await Sandbox.create()
  const [sdk, bare] = [[], []]
  for (let i = 0; i < n + 10; i++) {
    const [a] = await timed(() => sbx.commands.run('true'))
    const [b] = await timed(() => bareExec(sbx))
    if (i >= 10) sdk.push(a), bare.push(b)
  }
  await sbx.kill()
  return { sdk: summary(sdk), bare: summary(bare) }
}

async function transfers() {
  const sbx = await Sandbox.create()
  const data = randomBytes(SIZE)
  const blob = new Blob([data])
  const all = { write: [], fetch_write: [], bare_write: [], read: [], fetch_read: [], bare_read: [] }
  const octets = fields(sbx, { 'Content-Type': 'application/octet-stream', 'Content-Length': SIZE })
  for (let i = 0; i < 4; i++) {
    const times = {
      write: await timed(() => sbx.files.write('big', blob)),
      fetch_write: await timed(() => fetched('POST', octets, blob)),
      fetch_read: await timed(() => fetched('GET', fields(sbx))),
      bare_write: await timed(() => request('POST', '/files?path=big', octets, data)),
      read: await timed(async () => (await sbx.files.read('big', { format: 'bytes' })).length),
      bare_read: await timed(() => request('GET', '/files?path=big', fields(sbx))),
    }
    for (const [key, [ms]] of Object.entries(times)) if (i > 0) all[key].push(ms)
  }
  return [sbx, Object.fromEntries(Object.entries(all).map(([k, v]) => [k, percentile(v, 0.5)]))]
}

const n = Number(samples)
const [sbx, files] = await transfers()
const out = { create_exec: await creates(Math.ceil(n / 2)), exec: await execs(n), files }
out.sandbox = { id: sbx.sandboxId, token: sbx.envdAccessToken }
process.stdout.write(JSON.stringify(out) + '\n')
process.exit(0)
