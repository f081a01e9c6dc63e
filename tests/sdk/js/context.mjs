// What every case needs: assertions that say what they saw, sandboxes that end with the run, ways to a port.
import http from 'node:http'
import https from 'node:https'
import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'

export const NOT_SERVED = 'not served'
export const PATIENCE_MS = 60_000

export class Absent extends Error {}
export class Fault extends Error {}

export function check(condition, what) {
  if (!condition) throw new Error(what)
}

export function equal(got, expected, what = 'value') {
  if (!isDeepStrictEqual(got, expected)) {
    throw new Error(`${what}: got ${show(got)}, expected ${show(expected)}`)
  }
}

export function show(value) {
  const text = value instanceof Error ? `${value.name}: ${value.message}` : JSON.stringify(value) ?? String(value)
  return text.length > 400 ? `${text.slice(0, 400)}… (${text.length})` : text
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

export const sha256 = (data) => createHash('sha256').update(data).digest('hex')

/** Waits for a true value; errors while waiting count as not yet. */
export async function until(fn, what, ms = PATIENCE_MS) {
  const end = Date.now() + ms
  let last
  while (Date.now() < end) {
    try {
      const value = await fn()
      if (value) return value
      last = value
    } catch (e) {
      last = e
    }
    await sleep(25)
  }
  throw new Error(`${what}: not within ${ms} ms; last ${show(last)}`)
}

/** The error a promise ends with; it must be of the named class (or one derived from it) and have the text. */
export async function fails(promise, className, text) {
  let value
  try {
    value = await promise
  } catch (e) {
    const names = []
    for (let c = e?.constructor; c && c.name; c = Object.getPrototypeOf(c)) names.push(c.name)
    check(names.includes(className), `expected ${className}, got ${names[0]}: ${e?.message}`)
    check(!text || text.test(e.message), `expected ${text} in: ${e.message}`)
    return e
  }
  throw new Error(`expected ${className}, but it succeeded with ${show(value)}`)
}

export function withTimeout(promise, ms, what) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no end within ${ms} ms`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** What the API does not serve ends in the SDK's own error with the API's status. */
export async function notServed(promise, className = 'Error') {
  await fails(promise, className, /501|not (yet )?(served|supported|implemented)/i)
  return NOT_SERVED
}

export class Context {
  constructor(e2b, version, WebSocket) {
    this.e2b = e2b
    this.Sandbox = e2b.Sandbox
    this.version = version
    this.WebSocket = WebSocket
    this.made = []
    this.unique = `${process.pid}-${Date.now()}`
  }

  /** At least this version of the client. */
  since(version) {
    const [a, b] = [this.version, version].map((v) => v.split('.').map(Number))
    for (let i = 0; i < 3; i++) if (a[i] !== b[i]) return a[i] > b[i]
    return true
  }

  /** Ends the case: this version of the client has no such call. */
  absent(why) {
    throw new Absent(why)
  }

  /** Ends the case: what is wrong is the client's own fault, whatever the server does. */
  fault(why) {
    throw new Fault(why)
  }

  need(object, name) {
    if (typeof object?.[name] !== 'function') this.absent(`the client has no ${name}`)
    return object[name].bind(object)
  }

  /** A sandbox that all cases may use and none may end or pause. */
  async shared() {
    this.sharedPromise ??= this.fresh({ timeoutMs: 900_000 })
    return this.sharedPromise
  }

  /** A sandbox of the case's own; it is killed when the run ends. */
  async fresh(opts = {}, template = undefined) {
    const sbx = template ? await this.Sandbox.create(template, opts) : await this.Sandbox.create(opts)
    this.made.push(sbx.sandboxId)
    return sbx
  }

  /** A new folder in the shared sandbox. */
  async folder() {
    const sbx = await this.shared()
    this.count = (this.count ?? 0) + 1
    const path = `/home/user/case-${this.unique}-${this.count}`
    await sbx.files.makeDir(path)
    return [sbx, path]
  }

  async done() {
    const forget = new Set(this.made)
    await Promise.allSettled([...forget].map((id) => this.Sandbox.kill(id)))
  }

  /** Where a client finds a port of a sandbox: by the name getHost() gives, or at E2B_SANDBOX_URL with that name as Host. */
  port(sbx, port) {
    const host = sbx.getHost(port)
    if (!process.env.E2B_SANDBOX_URL) return { base: `https://${host}`, headers: {} }
    return { base: process.env.E2B_SANDBOX_URL, headers: { Host: host } }
  }

  /** One request as a browser or curl would send it, without anything of the SDK. */
  request(url, { method = 'GET', headers = {}, body } = {}) {
    const client = url.startsWith('https:') ? https : http
    return new Promise((resolve, reject) => {
      const req = client.request(url, { method, headers, agent: false }, (res) => {
        const parts = []
        res.on('data', (d) => parts.push(d))
        res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, body: Buffer.concat(parts) }))
        res.on('error', reject)
      })
      req.on('error', reject)
      req.end(body)
    })
  }
}
