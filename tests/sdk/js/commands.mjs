// Commands in a sandbox.
import { check, equal, fails, sha256, sleep, until } from './context.mjs'

/** A command that ends when a file was written. */
const waits = (dir) => `until [ -e ${dir}/go ]; do sleep 0.02; done`
const run = async (ctx, cmd, opts) => (await ctx.shared()).commands.run(cmd, opts)

export default {
  async 'commands.run'(ctx) {
    const r = await run(ctx, 'echo out; echo err >&2')
    equal([r.stdout, r.stderr, r.exitCode], ['out\n', 'err\n', 0], 'result')
    equal((await run(ctx, 'true')).stdout, '', 'no output')
  },

  async 'commands.run: exit codes'(ctx) {
    const e = await fails(run(ctx, 'echo out; echo err >&2; exit 3'), 'CommandExitError')
    equal([e.exitCode, e.stdout, e.stderr], [3, 'out\n', 'err\n'], 'error')
    equal((await fails(run(ctx, 'exit 255'), 'CommandExitError')).exitCode, 255, 'code')
  },

  async 'commands.run: no such program'(ctx) {
    const e = await fails(run(ctx, 'no-such-program-here'), 'CommandExitError')
    equal(e.exitCode, 127, 'code')
    check(/not found/.test(e.stderr), e.stderr)
  },

  async 'commands.run: ended by a signal'(ctx) {
    const e = await fails(run(ctx, 'kill -TERM $$'), 'CommandExitError')
    equal(e.exitCode, -1, 'code')
    check(/terminated/.test(e.error), e.error)
  },

  async 'commands.run: envs (field report 3)'(ctx) {
    const sbx = await ctx.fresh({ envs: { A: '1', B: 'at create' } })
    const envs = { B: 'two  words', C: '\'"$HOME\\', D: 'one\ntwo', E: '' }
    const out = (await sbx.commands.run('env -0 | base64 -w0', { envs })).stdout
    const got = Object.fromEntries(Buffer.from(out, 'base64').toString().split('\0').filter(Boolean).map((s) => s.split(/=(.*)/s).slice(0, 2)))
    equal({ A: got.A, B: got.B, C: got.C, D: got.D, E: got.E }, { A: '1', ...envs }, 'variables')
    await sbx.commands.run('true', { envs: { 'X;touch /tmp/ran': '1' } }).catch(() => {})
    equal(await sbx.files.exists('/tmp/ran'), false, 'a name that would be a command')
  },

  async 'commands.run: cwd'(ctx) {
    equal((await run(ctx, 'pwd', { cwd: '/tmp' })).stdout, '/tmp\n', 'absolute')
    equal((await run(ctx, 'pwd')).stdout, '/home/user\n', 'default')
    await fails(run(ctx, 'pwd', { cwd: '/no/such' }), 'InvalidArgumentError', /\/no\/such/)
  },

  async 'commands.run: user'(ctx) {
    equal((await run(ctx, 'id -un; echo $HOME', { user: 'root' })).stdout, 'root\n/root\n', 'root')
    equal((await run(ctx, 'id -un')).stdout, 'user\n', 'default')
    await fails(run(ctx, 'true', { user: 'nobody-such' }), 'AuthenticationError', /nobody-such/)
  },

  async 'commands.run: timeout'(ctx) {
    const e = await fails(run(ctx, 'sleep 300 # late', { timeoutMs: 500 }), 'TimeoutError', /time/i)
    check(e, 'an error')
    const sbx = await ctx.shared()
    await until(async () => !(await sbx.commands.list()).some((p) => p.args.join(' ').includes('# late')), 'the end of the process')
  },

  async 'commands.run: callbacks'(ctx) {
    const [sbx, dir] = await ctx.folder()
    const [out, err] = [[], []]
    const onStdout = (d) => {
      if (out.push(d) === 1) sbx.files.write(`${dir}/go`, '')
    }
    const opts = { onStdout, onStderr: (d) => void err.push(d) }
    const r = await run(ctx, `echo 1; ${waits(dir)}; echo 2; echo e >&2`, opts)
    equal([out.join(''), err.join('')], [r.stdout, r.stderr], 'callbacks and result')
    check(out.length >= 2, `came as ${JSON.stringify(out)}`)
  },

  async 'commands.run: big output'(ctx) {
    const r = await run(ctx, 'seq 1 1000000')
    equal(r.stdout.length, 6888896, 'bytes')
    equal(sha256(r.stdout), sha256(Array.from({ length: 1000000 }, (_, i) => `${i + 1}\n`).join('')), 'checksum')
  },

  async 'commands.run: UTF-8 cut anywhere (field report 1)'(ctx) {
    const expected = 'a' + 'é€😀'.repeat(50000) + '\n'
    let seen = ''
    const r = await run(ctx, 'python3 -c "print(\'a\'+\'é€😀\'*50000)"', { onStdout: (d) => void (seen += d) })
    if (!ctx.since('2.20.0') && r.stdout !== expected) ctx.fault('it decodes each piece of output by itself')
    equal([r.stdout === expected, seen === expected], [true, true], 'result and callback equal what was printed')
    const slow = await run(ctx, "for b in '\\342' '\\202' '\\254'; do printf $b; sleep 0.2; done")
    equal(slow.stdout, '€', 'one character written byte by byte')
  },

  async 'commands.run: background'(ctx) {
    const h = await run(ctx, 'sleep 0.2; echo done; exit 4', { background: true })
    check(h.pid > 1, `pid ${h.pid}`)
    const e = await fails(h.wait(), 'CommandExitError')
    equal([e.exitCode, e.stdout, h.exitCode], [4, 'done\n', 4], 'result')
  },

  async 'commands.run: many at once'(ctx) {
    const all = await Promise.all(Array.from({ length: 100 }, (_, i) => run(ctx, `sleep 0.5; echo ${i}`)))
    equal(all.map((r) => r.stdout), Array.from({ length: 100 }, (_, i) => `${i}\n`), 'answers')
  },

  async 'commands.kill'(ctx) {
    const sbx = await ctx.shared()
    const h = await sbx.commands.run('sleep 300', { background: true })
    equal(await sbx.commands.kill(h.pid), true, 'kill')
    const e = await fails(h.wait(), 'CommandExitError')
    check(/killed/.test(e.error), e.error)
    equal(await sbx.commands.kill(999999), false, 'kill of none')
    const other = await sbx.commands.run('sleep 300', { background: true })
    equal(await other.kill(), true, 'kill by the handle')
    await fails(other.wait(), 'CommandExitError')
  },

  async 'commands.list'(ctx) {
    const sbx = await ctx.shared()
    const h = await sbx.commands.run('sleep 301', { background: true, envs: { LISTED: 'yes' }, cwd: '/tmp' })
    const found = (await sbx.commands.list()).find((p) => p.pid === h.pid)
    check(found, 'the process is listed')
    equal([found.cmd, found.args.at(-1), found.envs.LISTED, found.cwd], ['/bin/bash', 'sleep 301', 'yes', '/tmp'], 'entry')
    await h.kill()
    await h.wait().catch(() => {})
    await until(async () => !(await sbx.commands.list()).some((p) => p.pid === h.pid), 'its leaving the list')
  },

  async 'commands.sendStdin'(ctx) {
    const sbx = await ctx.shared()
    const h = await sbx.commands.run('read a; read b; echo "$b $a"', { background: true, stdin: true })
    await sbx.commands.sendStdin(h.pid, 'one\n')
    await sbx.commands.sendStdin(h.pid, 'zwö\n')
    equal((await h.wait()).stdout, 'zwö one\n', 'answer')
    const without = await sbx.commands.run('sleep 5', { background: true, stdin: false })
    await fails(sbx.commands.sendStdin(without.pid, 'x'), 'Error')
    await without.kill()
    await without.wait().catch(() => {})
  },

  async 'commands.sendStdin: bytes (field report 2)'(ctx) {
    const sbx = await ctx.shared()
    const data = Buffer.alloc(2_000_000)
    for (let i = 0; i < data.length; i++) data[i] = (i * 7919) >> 3
    const h = await sbx.commands.run('sha256sum', { background: true, stdin: true, timeoutMs: 120_000 })
    for (let at = 0; at < data.length; at += 500_000) await sbx.commands.sendStdin(h.pid, data.subarray(at, at + 500_000))
    await ctx.need(sbx.commands, 'closeStdin')(h.pid)
    equal((await h.wait()).stdout.split(' ')[0], sha256(data), 'checksum')
    const none = await sbx.commands.run('cat', { background: true, stdin: true })
    await sbx.commands.closeStdin(none.pid)
    equal((await none.wait()).stdout, '', 'cat of nothing ends')
  },

  async 'CommandHandle.sendStdin and closeStdin'(ctx) {
    const sbx = await ctx.shared()
    const h = await sbx.commands.run('cat', { background: true, stdin: true })
    if (typeof h.sendStdin !== 'function') {
      await h.kill()
      await h.wait().catch(() => {})
      ctx.absent('the client has them only on commands')
    }
    await h.sendStdin('by the handle')
    await h.closeStdin()
    equal((await h.wait()).stdout, 'by the handle', 'answer')
  },

  async 'commands.connect'(ctx) {
    const [sbx, dir] = await ctx.folder()
    const first = await sbx.commands.run(`seq 8; ${waits(dir)}; seq 9 10; exit 5`, { background: true })
    await until(() => first.stdout.includes('2\n'), 'some output')
    await first.disconnect()
    let seen = ''
    const again = await sbx.commands.connect(first.pid, { onStdout: (d) => void (seen += d) })
    await sbx.files.write(`${dir}/go`, '')
    const e = await fails(again.wait(), 'CommandExitError')
    equal(e.exitCode, 5, 'code')
    check(e.stdout.endsWith('9\n10\n') && seen === e.stdout, `output ${JSON.stringify(e.stdout)}`)
    await fails(sbx.commands.connect(999999), 'NotFoundError', /999999/)
  },

  async 'CommandHandle.disconnect'(ctx) {
    const [sbx, dir] = await ctx.folder()
    const h = await sbx.commands.run(`sleep 1; echo alive >${dir}/proof`, { background: true })
    await h.disconnect()
    await until(async () => (await sbx.files.read(`${dir}/proof`)) === 'alive\n', 'the process going on alone')
    await sleep(0)
  },
}
