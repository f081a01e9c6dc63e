// Files of a sandbox.
import { Readable } from 'node:stream'
import { randomBytes } from 'node:crypto'
import { check, equal, fails, sha256, sleep, until } from './context.mjs'

const MIB = 1 << 20
const arrayBuffer = (b) => b.buffer.slice(b.byteOffset, b.byteOffset + b.length)

async function collect(stream) {
  const parts = []
  for await (const part of stream) parts.push(part)
  return Buffer.concat(parts)
}

async function sum(sbx, path) {
  return (await sbx.commands.run(`sha256sum <'${path}'`)).stdout.split(' ')[0]
}

/** Watches, does something, and waits until each of the wanted events came. */
async function watched(sbx, dir, opts, act, wanted) {
  const events = []
  let exit
  const handle = await sbx.files.watchDir(dir, (e) => void events.push(e), { onExit: (e) => void (exit = e ?? 'end'), ...opts })
  await act()
  const missing = () => wanted.filter(([type, name]) => !events.some((e) => e.type === type && e.name === name))
  await until(() => missing().length === 0, `events ${JSON.stringify(wanted)}`, 20_000).catch((e) => {
    throw new Error(`${e.message}; came ${JSON.stringify(events.map((x) => [x.type, x.name]))}`)
  })
  await handle.stop()
  return { events, exit: () => exit }
}

export default {
  async 'files.write and read: text'(ctx) {
    const [sbx, dir] = await ctx.folder()
    const info = await sbx.files.write(`${dir}/new/deep/a.txt`, 'hellö\n')
    equal([info.name, info.path], ['a.txt', `${dir}/new/deep/a.txt`], 'info')
    equal(await sbx.files.read(`${dir}/new/deep/a.txt`), 'hellö\n', 'text')
    await sbx.files.write(`${dir}/new/deep/a.txt`, 'x')
    equal(await sbx.files.read(`${dir}/new/deep/a.txt`), 'x', 'overwritten')
    equal((await sbx.commands.run(`stat -c '%U %G' ${dir}/new ${dir}/new/deep/a.txt`)).stdout, 'user user\nuser user\n', 'owner')
    await sbx.files.write('relative.txt', 'r')
    equal(await sbx.files.read('/home/user/relative.txt'), 'r', 'relative to home')
  },

  async 'files.read: bytes, blob, stream'(ctx) {
    const [sbx, dir] = await ctx.folder()
    const data = randomBytes(300_000)
    await sbx.files.write(`${dir}/b`, arrayBuffer(data))
    const bytes = await sbx.files.read(`${dir}/b`, { format: 'bytes' })
    equal(sha256(bytes), sha256(data), 'bytes')
    const blob = await sbx.files.read(`${dir}/b`, { format: 'blob' })
    equal(sha256(Buffer.from(await blob.arrayBuffer())), sha256(data), 'blob')
    equal(sha256(await collect(await sbx.files.read(`${dir}/b`, { format: 'stream' }))), sha256(data), 'stream')
  },

  async 'files.write: ArrayBuffer, Blob, stream'(ctx) {
    const [sbx, dir] = await ctx.folder()
    const data = randomBytes(300_000)
    await sbx.files.write(`${dir}/array`, arrayBuffer(data))
    await sbx.files.write(`${dir}/blob`, new Blob([data]))
    await sbx.files.write(`${dir}/stream`, Readable.toWeb(Readable.from([data.subarray(0, 1000), data.subarray(1000)])))
    for (const name of ['array', 'blob', 'stream']) equal(await sum(sbx, `${dir}/${name}`), sha256(data), name)
  },

  async 'files.write: many'(ctx) {
    const [sbx, dir] = await ctx.folder()
    const entries = Array.from({ length: 20 }, (_, i) => ({ path: `${dir}/m/${i}.txt`, data: `number ${i}` }))
    const infos = await sbx.files.write(entries)
    equal(infos.map((i) => i.path), entries.map((e) => e.path), 'paths')
    for (const e of [entries[0], entries[19]]) equal(await sbx.files.read(e.path), e.data, e.path)
    const more = await ctx.need(sbx.files, 'writeFiles')([{ path: `${dir}/w1`, data: 'one' }, { path: `${dir}/w2`, data: new Blob(['two']) }])
    equal(more.length, 2, 'writeFiles')
    equal(await sbx.files.read(`${dir}/w2`), 'two', 'the second of writeFiles')
    equal(await sbx.files.write([]), [], 'none')
  },

  async 'files.write: gzip, octet-stream'(ctx) {
    if (!ctx.since('2.15.0')) ctx.absent('the client has no such options')
    const [sbx, dir] = await ctx.folder()
    const text = 'the same line\n'.repeat(20_000)
    await sbx.files.write(`${dir}/plain`, text, { useOctetStream: true })
    await sbx.files.write(`${dir}/packed`, text, { gzip: true })
    await sbx.files.write(`${dir}/both`, text, { gzip: true, useOctetStream: true })
    for (const name of ['plain', 'packed', 'both']) equal(await sum(sbx, `${dir}/${name}`), sha256(text), name)
    equal(await sbx.files.read(`${dir}/packed`, { gzip: true }), text, 'read with gzip')
  },

  async 'files.write: metadata'(ctx) {
    if (!ctx.since('2.20.0')) ctx.absent('the client has no such option')
    const [sbx, dir] = await ctx.folder()
    const info = await sbx.files.write(`${dir}/m`, 'x', { metadata: { Author: 'me', purpose: 'test run' } })
    equal(info.metadata, { author: 'me', purpose: 'test run' }, 'answer of write')
    equal((await sbx.files.getInfo(`${dir}/m`)).metadata, { author: 'me', purpose: 'test run' }, 'getInfo')
    await sbx.files.write(`${dir}/m`, 'y')
    check(!(await sbx.files.getInfo(`${dir}/m`)).metadata?.author, 'cleared by a write without')
  },

  async 'files: 100 MiB up and down'(ctx) {
    const sbx = await ctx.fresh()
    const data = randomBytes(100 * MIB)
    const expected = sha256(data)
    await sbx.files.write('big', new Blob([data]), { requestTimeoutMs: 120_000 })
    equal(await sum(sbx, '/home/user/big'), expected, 'checksum inside')
    equal(sha256(await sbx.files.read('big', { format: 'bytes', requestTimeoutMs: 120_000 })), expected, 'checksum of what came back')
    await sbx.kill()
  },

  async 'files.read: errors'(ctx) {
    const [sbx, dir] = await ctx.folder()
    const missing = ctx.e2b.FileNotFoundError ? 'FileNotFoundError' : 'NotFoundError'
    await fails(sbx.files.read(`${dir}/none`), missing, /none/)
    await fails(sbx.files.read(dir), 'InvalidArgumentError', /director/)
    await fails(sbx.files.read('x', { user: 'nobody-such' }), 'AuthenticationError', /nobody-such/)
    await fails(sbx.files.write(dir, 'x'), 'InvalidArgumentError', /director/)
  },

  async 'files: odd names, empty file (field report 5)'(ctx) {
    const [sbx, dir] = await ctx.folder()
    const names = ['🤣.txt', 'a b#c%20d?&+=.txt', 'quo"te.txt', "apo'strophe", `${'n'.repeat(251)}.txt`, 'back\\slash']
    for (const name of names) {
      await sbx.files.write(`${dir}/${name}`, `in ${name}`)
      equal(await sbx.files.read(`${dir}/${name}`), `in ${name}`, `read of ${name}`)
    }
    equal((await sbx.files.list(dir)).map((e) => e.name).sort(), [...names].sort(), 'list')
    for (const name of names) {
      await sbx.files.rename(`${dir}/${name}`, `${dir}/r`)
      equal(await sbx.files.read(`${dir}/r`), `in ${name}`, `renamed ${name}`)
      await sbx.files.rename(`${dir}/r`, `${dir}/${name}`)
      await sbx.files.remove(`${dir}/${name}`)
    }
    await sbx.files.write(`${dir}/empty`, '')
    equal(await sbx.files.read(`${dir}/empty`), '', 'an empty file as text')
    equal((await sbx.files.read(`${dir}/empty`, { format: 'bytes' })).length, 0, 'and as bytes')
    await fails(sbx.files.write(`${dir}/${'n'.repeat(256)}`, 'x'), 'Error', /name|long/i)
  },

  async 'files.list'(ctx) {
    const [sbx, dir] = await ctx.folder()
    await sbx.commands.run('mkdir -p one/two/three && echo 1 >a && echo 2 >one/b && ln -s a link', { cwd: dir })
    const names = async (opts) => (await sbx.files.list(dir, opts)).map((e) => e.path.slice(dir.length + 1)).sort()
    equal(await names(), ['a', 'link', 'one'], 'depth 1')
    equal(await names({ depth: 2 }), ['a', 'link', 'one', 'one/b', 'one/two'], 'depth 2')
    const entries = await sbx.files.list(dir)
    equal(Object.fromEntries(entries.map((e) => [e.name, e.type])), { a: 'file', link: 'file', one: 'dir' }, 'types')
    check(entries.find((e) => e.name === 'link').symlinkTarget?.endsWith('/a'), 'target of the link')
    await fails(sbx.files.list(`${dir}/none`), 'NotFoundError', /none/)
    await fails(sbx.files.list(`${dir}/a`), 'InvalidArgumentError', /not a directory/)
    await fails(sbx.files.list(dir, { depth: 0 }), 'InvalidArgumentError')
  },

  async 'files.exists'(ctx) {
    const [sbx, dir] = await ctx.folder()
    equal(await sbx.files.exists(dir), true, 'a folder')
    equal(await sbx.files.exists(`${dir}/none`), false, 'none')
  },

  async 'files.getInfo'(ctx) {
    const [sbx, dir] = await ctx.folder()
    await sbx.files.write(`${dir}/f`, '12345')
    await sbx.commands.run(`chmod 640 ${dir}/f`)
    const info = await sbx.files.getInfo(`${dir}/f`)
    equal([info.name, info.type, info.size, info.mode, info.permissions], ['f', 'file', 5, 0o640, '-rw-r-----'], 'file')
    equal([info.owner, info.group, info.path], ['user', 'user', `${dir}/f`], 'owner')
    check(Math.abs(info.modifiedTime.getTime() - Date.now()) < 600_000, `time ${info.modifiedTime}`)
    equal((await sbx.files.getInfo(dir)).type, 'dir', 'folder')
    await fails(sbx.files.getInfo(`${dir}/none`), 'NotFoundError', /none/)
  },

  async 'files.makeDir'(ctx) {
    const [sbx, dir] = await ctx.folder()
    equal(await sbx.files.makeDir(`${dir}/a/b`), true, 'new')
    equal(await sbx.files.makeDir(`${dir}/a/b`), false, 'there already')
    await sbx.files.write(`${dir}/f`, 'x')
    await fails(sbx.files.makeDir(`${dir}/f`), 'InvalidArgumentError', /not a directory|file/)
  },

  async 'files.rename'(ctx) {
    const [sbx, dir] = await ctx.folder()
    await sbx.files.write(`${dir}/a`, 'moved')
    const entry = await sbx.files.rename(`${dir}/a`, `${dir}/new/b`)
    equal([entry.name, entry.path], ['b', `${dir}/new/b`], 'entry')
    equal(await sbx.files.read(`${dir}/new/b`), 'moved', 'content')
    equal(await sbx.files.exists(`${dir}/a`), false, 'the old name')
    await fails(sbx.files.rename(`${dir}/a`, `${dir}/c`), 'NotFoundError')
  },

  async 'files.remove'(ctx) {
    const [sbx, dir] = await ctx.folder()
    await sbx.files.write(`${dir}/d/e/f`, 'x')
    await sbx.files.remove(`${dir}/d`)
    equal(await sbx.files.exists(`${dir}/d`), false, 'a whole folder')
    await sbx.files.remove(`${dir}/d`)
  },

  async 'files: user'(ctx) {
    const [sbx, dir] = await ctx.folder()
    await sbx.files.write(`${dir}/r`, 'x', { user: 'root' })
    equal((await sbx.files.getInfo(`${dir}/r`)).owner, 'root', 'owner')
    await sbx.files.write('of-root.txt', 'x', { user: 'root' })
    equal(await sbx.files.exists('/root/of-root.txt'), true, 'relative to the home of the user')
  },

  async 'files.watchDir'(ctx) {
    const [sbx, dir] = await ctx.folder()
    await sbx.files.write(`${dir}/old`, 'x')
    const wanted = [['create', 'new'], ['write', 'new'], ['rename', 'old'], ['create', 'newer'], ['chmod', 'new'], ['remove', 'new']]
    const { exit } = await watched(sbx, dir, {}, async () => {
      await sbx.files.write(`${dir}/new`, 'x')
      await sbx.files.rename(`${dir}/old`, `${dir}/newer`)
      await sbx.commands.run(`chmod 600 ${dir}/new && rm ${dir}/new`)
    }, wanted)
    await until(exit, 'onExit after stop', 20_000)
    await fails(sbx.files.watchDir(`${dir}/none`, () => {}), 'NotFoundError', /none/)
    await fails(sbx.files.watchDir(`${dir}/newer`, () => {}), 'InvalidArgumentError', /not a directory/)
  },

  async 'files.watchDir: recursive'(ctx) {
    const [sbx, dir] = await ctx.folder()
    await sbx.files.makeDir(`${dir}/there`)
    await watched(sbx, dir, { recursive: true }, async () => {
      await sbx.files.write(`${dir}/there/a`, 'x')
      await sbx.files.makeDir(`${dir}/later`)
      await sleep(500)
      await sbx.files.write(`${dir}/later/b`, 'x')
    }, [['create', 'there/a'], ['create', 'later'], ['create', 'later/b']])
  },

  async 'files.watchDir: includeEntry'(ctx) {
    if (!ctx.since('2.20.0')) ctx.absent('the client has no such option')
    const [sbx, dir] = await ctx.folder()
    const { events } = await watched(sbx, dir, { includeEntry: true }, () => sbx.files.write(`${dir}/e`, '123'), [['write', 'e']])
    const entry = events.find((e) => e.entry)?.entry
    check(entry && entry.path === `${dir}/e` && entry.type === 'file', `entry ${JSON.stringify(entry)}`)
  },

  async 'files.watchDir: users (field report 7)'(ctx) {
    const sbx = await ctx.fresh()
    const touch = (n) => () => sbx.commands.run(`touch /root/${n}`, { user: 'root' })
    await watched(sbx, '/root', { user: 'root' }, touch('one'), [['create', 'one']])
    await watched(sbx, '/root', {}, touch('two'), [['create', 'two']])
    await fails(sbx.files.watchDir('/root', () => {}, { user: 'nobody-such' }), 'AuthenticationError', /nobody-such/)
  },

  async 'downloadUrl'(ctx) {
    const [sbx, dir] = await ctx.folder()
    await sbx.files.write(`${dir}/a b+c.txt`, 'signed')
    const url = await sbx.downloadUrl(`${dir}/a b+c.txt`)
    const got = await ctx.request(url)
    equal([got.status, got.body.toString()], [200, 'signed'], 'a plain GET')
    const limited = await sbx.downloadUrl(`${dir}/a b+c.txt`, { useSignatureExpiration: 60 })
    equal((await ctx.request(limited)).status, 200, 'one with an expiration')
    const late = await ctx.request(await sbx.downloadUrl(`${dir}/a b+c.txt`, { useSignatureExpiration: -10 }))
    equal(late.status, 401, 'an expired one')
    check(/expired/.test(late.body), late.body.toString())
    const forged = await ctx.request(url.replace(/signature=v1_.../, 'signature=v1_AAA'))
    equal(forged.status, 401, 'a forged one')
    equal((await ctx.request(url.replace('a+b', 'other').replace('a%20b', 'other'))).status, 401, 'another path')
  },

  async 'uploadUrl'(ctx) {
    const [sbx, dir] = await ctx.folder()
    const form = '--x\r\nContent-Disposition: form-data; name="file"; filename="u.txt"\r\n\r\nby form\r\n--x--\r\n'
    const headers = { 'Content-Type': 'multipart/form-data; boundary=x' }
    const url = await sbx.uploadUrl(`${dir}/u.txt`, { useSignatureExpiration: 60 })
    equal((await ctx.request(url, { method: 'POST', headers, body: form })).status, 200, 'POST')
    equal(await sbx.files.read(`${dir}/u.txt`), 'by form', 'content')
    const late = await sbx.uploadUrl(`${dir}/late`, { useSignatureExpiration: -10 })
    equal((await ctx.request(late, { method: 'POST', headers, body: form })).status, 401, 'an expired one')
    const read = await sbx.downloadUrl(`${dir}/u.txt`)
    equal((await ctx.request(read, { method: 'POST', headers, body: form })).status, 401, 'an address for reading')
    equal(await sbx.files.exists(`${dir}/late`), false, 'nothing written')
  },
}
