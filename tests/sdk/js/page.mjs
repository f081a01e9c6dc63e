// The SDK in a page of https://app.example: fetch() with the checks that a browser makes of other origins' answers, and the calls
// an application would make. Prints what came out, a line a call.
const ORIGIN = 'https://app.example'
const SAFE = ['accept', 'accept-language', 'content-language', 'range', 'accept-encoding', 'connection', 'content-length', 'host']
const FORM = /^(text\/plain|multipart\/form-data|application\/x-www-form-urlencoded)/
const READABLE = ['cache-control', 'content-language', 'content-length', 'content-type', 'expires', 'last-modified', 'pragma']
const direct = globalThis.fetch
const list = (res, name) => (res.headers.get(name) ?? '').toLowerCase().split(/\s*,\s*/)

function allowed(res, what) {
  if (!['*', ORIGIN].includes(res.headers.get('access-control-allow-origin'))) throw new TypeError(`${what}: no origin is allowed`)
}

async function preflight(req, names) {
  const asked = { Origin: ORIGIN, 'Access-Control-Request-Method': req.method }
  if (names.length) asked['Access-Control-Request-Headers'] = names.join(',')
  const res = await direct(req.url, { method: 'OPTIONS', headers: asked })
  allowed(res, `preflight of ${req.method} ${req.url}`)
  const fields = list(res, 'access-control-allow-headers')
  const missing = names.filter((n) => !fields.includes(n) && (n === 'authorization' || !fields.includes('*')))
  const method = ['GET', 'HEAD', 'POST'].includes(req.method) || list(res, 'access-control-allow-methods').includes(req.method.toLowerCase())
  if (!res.ok || !method || missing.length) throw new TypeError(`preflight of ${req.method} ${req.url}: ${res.status} ${missing}`)
}

globalThis.fetch = async (input, init) => {
  const req = new Request(input, { ...init, duplex: 'half' })
  const names = [...req.headers].filter(([n, v]) => !SAFE.includes(n) && !(n === 'content-type' && FORM.test(v))).map(([n]) => n)
  if (names.length || !['GET', 'HEAD', 'POST'].includes(req.method)) await preflight(req, names)
  const headers = new Headers(req.headers)
  for (const [n, v] of [['Origin', ORIGIN], ['Sec-Fetch-Site', 'cross-site'], ['Sec-Fetch-Mode', 'cors']]) headers.set(n, v)
  const res = await direct(req, { headers })
  allowed(res, `${req.method} ${req.url} (${res.status})`)
  const readable = [...READABLE, ...list(res, 'access-control-expose-headers')]
  const seen = [...res.headers].filter(([n]) => readable.includes(n))
  return new Response(res.status === 204 ? null : res.body, { status: res.status, headers: seen })
}

const { Sandbox } = await import('e2b')
const say = (...words) => console.log(words.join(' '))
const failure = (promise) => promise.then(() => 'nothing', (e) => e.constructor.name)
const sandbox = await Sandbox.create({ metadata: { of: 'page' } })
const other = await Sandbox.create({ metadata: { of: 'page' } })
say('run', (await sandbox.commands.run('echo hi')).stdout.trim())
await sandbox.files.write('note', 'kept')
say('read', await sandbox.files.read('note'), await (await fetch(await sandbox.downloadUrl('note'))).text())
const pages = Sandbox.list({ query: { metadata: { of: 'page' } }, limit: 1 })
await pages.nextItems()
say('more', pages.hasNext, (await pages.nextItems()).length)
say('errors', await failure(sandbox.files.read('none')), await failure(sandbox.commands.run('exit 3')), await failure(Sandbox.connect('none')))
say('key', await failure(Sandbox.create({ apiKey: `e2b_${'1'.repeat(40)}` })))
await sandbox.pause()
say('paused', await failure(sandbox.commands.run('true')))
await sandbox.connect()
say('again', (await sandbox.commands.run('cat note')).stdout)
say('killed', await sandbox.kill(), await other.kill(), await sandbox.isRunning())
