// Terminals.
import { check, equal, fails, until } from './context.mjs'

const bytes = (text) => new TextEncoder().encode(text)

/** A terminal whose output is collected; type() sends, see() waits for text that came after the last see(). */
async function terminal(ctx, opts = {}, sbx = undefined) {
  sbx ??= await ctx.shared()
  const t = { sbx, text: '', at: 0 }
  const decoder = new TextDecoder()
  const onData = (d) => void (t.text += decoder.decode(d, { stream: true }))
  t.handle = await sbx.pty.create({ cols: 120, rows: 40, onData, timeoutMs: 0, ...opts })
  t.pid = t.handle.pid
  t.type = (text) => sbx.pty.sendInput(t.pid, bytes(text))
  t.see = async (pattern) => {
    const found = await until(() => t.text.slice(t.at).match(pattern), `${pattern} in a terminal`, 30_000).catch((e) => {
      throw new Error(`${e.message}; came ${JSON.stringify(t.text.slice(t.at))}`)
    })
    t.at += found.index + found[0].length
    return found
  }
  t.end = async () => {
    await sbx.pty.kill(t.pid)
    await t.handle.wait().catch(() => {})
  }
  return t
}

export default {
  async 'pty.create and sendInput'(ctx) {
    const t = await terminal(ctx)
    await t.type('echo $((6*7)) $TERM; tty\n')
    await t.see(/42 xterm-256color/)
    await t.see(/\/dev\/pts\/\d+/)
    await t.type('exit 7\n')
    const e = await fails(t.handle.wait(), 'CommandExitError')
    equal(e.exitCode, 7, 'code')
  },

  async 'pty.create: envs, cwd, user (field report 3)'(ctx) {
    const envs = { B: 'two  words', C: '\'"$HOME\\' }
    const t = await terminal(ctx, { envs, cwd: '/tmp', user: 'root' })
    await t.type('printf "[%s]" "$B" "$C" "$PWD" "$(id -un)"; echo\n')
    await t.see(/\[two {2}words\]\['"\$HOME\\\]\[\/tmp\]\[root\]/)
    await t.end()
  },

  async 'pty.resize (field report 4)'(ctx) {
    const t = await terminal(ctx)
    await t.type('stty size\n')
    await t.see(/\b40 120\b/)
    await t.type("trap 'stty size' WINCH; echo s\"\"et\n")
    await t.see(/set/)
    await t.sbx.pty.resize(t.pid, { cols: 200, rows: 50 })
    await t.type('true\n')
    await t.see(/\b50 200\b/)
    await t.type('sh -c "echo run""ning; exec sleep 300"\n') // a shell forgets an interrupt that comes while it starts a program
    await t.see(/running/)
    await t.type('\u0003')
    await t.type('echo still $((40+2))\n')
    await t.see(/still 42/)
    await t.end()
  },

  async 'pty.kill'(ctx) {
    const t = await terminal(ctx)
    equal(await t.sbx.pty.kill(t.pid), true, 'kill')
    await fails(t.handle.wait(), 'CommandExitError')
    equal(await t.sbx.pty.kill(999999), false, 'kill of none')
  },

  async 'pty.connect'(ctx) {
    const t = await terminal(ctx)
    if (typeof t.sbx.pty.connect !== 'function') {
      await t.end()
      ctx.absent('the client has no pty.connect')
    }
    await t.type('KEPT=kept\n')
    await t.handle.disconnect()
    let text = ''
    const again = await t.sbx.pty.connect(t.pid, { onData: (d) => void (text += Buffer.from(d).toString()), timeoutMs: 0 })
    await t.sbx.pty.sendInput(t.pid, bytes('echo is $KEPT\n'))
    await until(() => text.includes('is kept'), 'the shell going on')
    await again.kill()
    await again.wait().catch(() => {})
  },

  async 'pty: UTF-8 (field report 1)'(ctx) {
    const t = await terminal(ctx)
    await t.type('python3 -c "print(\'a\'+\'é€😀\'*20000+\'z\')"; echo en""d\n')
    await t.see(/end/)
    check(t.text.includes('a' + 'é€😀'.repeat(20000) + 'z'), 'every character arrived whole')
    await t.end()
  },
}
