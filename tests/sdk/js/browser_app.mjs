// What a page of an application does with the SDK; bundled by browser.mjs for a real browser. Returns a line a call.
import { Sandbox } from 'e2b'

const failure = (promise) => promise.then(() => 'nothing', (e) => e.constructor.name)

async function until(check) {
  while (!check()) await new Promise((done) => setTimeout(done, 20))
}

async function files(sandbox, say) {
  await sandbox.files.write('note', 'kept')
  await sandbox.files.write('big', new Blob([new Uint8Array(5 << 20).fill(120)]))
  say('read', await sandbox.files.read('note'), (await sandbox.files.read('big', { format: 'bytes' })).length)
  say('url', await (await fetch(await sandbox.downloadUrl('note'))).text())
  const seen = new Set()
  const watch = await sandbox.files.watchDir('/home/user', (e) => seen.add(`${e.type} ${e.name}`))
  await sandbox.files.write('watched', 'x')
  await until(() => seen.has('write watched'))
  await watch.stop()
  say('watch', seen.has('create watched'))
}

async function processes(sandbox, say) {
  say('run', (await sandbox.commands.run('echo hi')).stdout.trim())
  const cat = await sandbox.commands.run('cat', { background: true, stdin: true })
  await sandbox.commands.sendStdin(cat.pid, 'through cat\n')
  await until(() => cat.stdout.includes('\n'))
  say('stdin', cat.stdout.trim(), await cat.kill())
  let text = ''
  const onData = (data) => { text += new TextDecoder().decode(data) }
  const pty = await sandbox.pty.create({ cols: 80, rows: 24, onData })
  await sandbox.pty.sendInput(pty.pid, new TextEncoder().encode('echo pty$((40+2))\n'))
  await until(() => text.includes('pty42'))
  say('pty', await pty.kill())
}

window.application = async (settings) => {
  const lines = []
  const say = (...words) => lines.push(words.join(' '))
  try {
    const sandbox = await Sandbox.create({ ...settings, metadata: { of: 'browser' } })
    await files(sandbox, say)
    await processes(sandbox, say)
    say('list', (await Sandbox.list({ ...settings, query: { metadata: { of: 'browser' } } }).nextItems()).length)
    say('errors', await failure(sandbox.files.read('none')), await failure(sandbox.commands.run('exit 3')), await failure(Sandbox.connect('none', settings)))
    await sandbox.pause()
    say('paused', await failure(sandbox.commands.run('true')))
    await sandbox.connect()
    say('again', (await sandbox.commands.run('cat note')).stdout)
    say('killed', await sandbox.kill(), await sandbox.isRunning())
  } catch (e) {
    say('failed', e.stack)
  }
  return lines
}
