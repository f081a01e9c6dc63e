// Ports of a sandbox from outside, and what the sandbox may reach.
import { readFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { check, equal, sha256, until } from './context.mjs'

const SERVER = readFileSync(new URL('../port_server.py', import.meta.url), 'utf8')

/** The server of port_server.py on a port of the sandbox. */
async function serve(ctx, sbx, port) {
  await sbx.files.write('/home/user/port_server.py', SERVER)
  await sbx.commands.run(`python3 /home/user/port_server.py ${port}`, { background: true, timeoutMs: 0 })
  const at = ctx.port(sbx, port)
  return at
}

const answers = (ctx, at, headers = at.headers) => until(async () => {
  const got = await ctx.request(`${at.base}/hello?x=1`, { headers })
  return got.status !== 502 && got
}, 'the server in the sandbox')

export default {
  async 'getHost: HTTP'(ctx) {
    const sbx = await ctx.shared()
    check(sbx.getHost(8000).startsWith(`8000-${sbx.sandboxId}.`), sbx.getHost(8000))
    const at = await serve(ctx, sbx, 8000)
    const got = await answers(ctx, at)
    equal(got.body.toString(), 'GET /hello?x=1', 'answer')
    const body = randomBytes(1_000_000)
    const posted = await ctx.request(`${at.base}/sum`, { method: 'POST', headers: { ...at.headers, 'Content-Length': body.length }, body })
    equal(posted.body.toString(), sha256(body), 'checksum of what it was sent')
    const routed = { 'E2b-Sandbox-Id': sbx.sandboxId, 'E2b-Sandbox-Port': '8000' }
    if (process.env.E2B_SANDBOX_URL) {
      equal((await ctx.request(`${at.base}/routed`, { headers: routed })).body.toString(), 'GET /routed', 'by routing headers')
    }
  },

  async 'getHost: WebSocket'(ctx) {
    const sbx = await ctx.shared()
    const at = await serve(ctx, sbx, 8001)
    await answers(ctx, at)
    const socket = new ctx.WebSocket(`${at.base.replace(/^http/, 'ws')}/ws`, { headers: at.headers })
    const got = []
    const closed = new Promise((resolve, reject) => {
      socket.on('message', (data, binary) => got.push(binary ? Buffer.from(data) : data.toString()))
      socket.on('close', (code) => resolve(code))
      socket.on('error', reject)
    })
    await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject))
    const big = randomBytes(2_000_000)
    socket.send('hellö')
    socket.send(big)
    await until(() => got.length === 2, 'both echoes')
    equal(got[0], 'hellö', 'text')
    equal(sha256(got[1]), sha256(big), '2 MB of bytes')
    socket.close(4001, 'bye')
    equal(await closed, 4001, 'the code of the close')
  },

  async 'getHost: closed port, dead sandbox'(ctx) {
    const sbx = await ctx.fresh()
    const at = ctx.port(sbx, 8002)
    const closed = await ctx.request(`${at.base}/`, { headers: at.headers })
    equal(closed.status, 502, 'a closed port')
    const { sandboxId, message, port } = JSON.parse(closed.body)
    equal({ sandboxId, message, port }, { sandboxId: sbx.sandboxId, message: 'The sandbox is running but port is not open', port: 8002 }, 'body')
    await sbx.kill()
    const dead = await ctx.request(`${at.base}/`, { headers: at.headers })
    equal(dead.status, 502, 'a dead sandbox')
    equal(JSON.parse(dead.body).message, 'The sandbox was not found', 'message')
  },

  async 'network: allowPublicTraffic false'(ctx) {
    const sbx = await ctx.fresh({ network: { allowPublicTraffic: false } })
    check(sbx.trafficAccessToken, 'a traffic token')
    const at = await serve(ctx, sbx, 8003)
    const token = { ...at.headers, 'e2b-traffic-access-token': sbx.trafficAccessToken }
    equal((await answers(ctx, at, token)).status, 200, 'with the token')
    equal((await ctx.request(`${at.base}/`, { headers: at.headers })).status, 403, 'without')
    const wrong = { ...at.headers, 'e2b-traffic-access-token': 'x'.repeat(40) }
    equal((await ctx.request(`${at.base}/`, { headers: wrong })).status, 403, 'with a wrong one')
    equal((await sbx.commands.run('echo open')).stdout, 'open\n', 'commands need no traffic token')
  },

  async 'allowInternetAccess false'(ctx) {
    const sbx = await ctx.fresh({ allowInternetAccess: false })
    const r = await sbx.commands.run('timeout 5 bash -c "exec 3<>/dev/tcp/192.0.2.1/80" 2>&1; echo code $?')
    check(!/code 0/.test(r.stdout), r.stdout)
    const info = await sbx.getInfo()
    if ('allowInternetAccess' in info) equal(info.allowInternetAccess, false, 'getInfo')
  },
}
