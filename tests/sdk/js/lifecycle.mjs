// Creating, finding, extending, pausing and ending sandboxes.
import { check, equal, fails, sleep, until } from './context.mjs'

const near = (date, ms, slack = 20_000) => Math.abs(date.getTime() - (Date.now() + ms)) < slack

/** What an auto-pausing sandbox is asked for with, which changed over the versions. */
async function createAutoPausing(ctx, opts) {
  if (ctx.e2b.Sandbox.betaCreate && !ctx.since('2.15.0')) {
    const sbx = await ctx.Sandbox.betaCreate({ autoPause: true, ...opts })
    ctx.made.push(sbx.sandboxId)
    return sbx
  }
  return ctx.fresh({ lifecycle: { onTimeout: 'pause' }, ...opts })
}

export default {
  async 'create: defaults'(ctx) {
    const sbx = await ctx.fresh()
    check(/^i[a-z0-9]+$/.test(sbx.sandboxId), `id ${sbx.sandboxId}`)
    const info = await sbx.getInfo()
    equal(info.sandboxId, sbx.sandboxId, 'id')
    equal(info.state, 'running', 'state')
    equal(info.metadata, {}, 'metadata')
    equal(info.name, 'base', 'the name of the template')
    check(near(info.endAt, 300_000), `ends ${info.endAt.toISOString()}`)
    check(info.cpuCount >= 1 && info.memoryMB >= 128, `cpu ${info.cpuCount}, memory ${info.memoryMB}`)
    equal((await sbx.commands.run('whoami; pwd')).stdout, 'user\n/home/user\n', 'who and where')
    equal((await sbx.commands.run('echo $E2B_SANDBOX $E2B_SANDBOX_ID')).stdout, `true ${sbx.sandboxId}\n`, 'what E2B sets')
  },

  async 'create: template, metadata, envs, timeout'(ctx) {
    const metadata = { task: 'report 7', 'key with space': 'ä & = %', empty: '' }
    const envs = { A: '1', B: 'two  words' }
    const sbx = await ctx.fresh({ metadata, envs, timeoutMs: 90_000 }, 'base')
    const info = await sbx.getInfo()
    equal(info.metadata, metadata, 'metadata')
    check(near(info.endAt, 90_000), `ends ${info.endAt.toISOString()}`)
    equal((await sbx.commands.run('echo "$A|$B"')).stdout, '1|two  words\n', 'variables')
  },

  async 'create: secure false'(ctx) {
    if (ctx.since('2.46.0')) ctx.absent('the client no longer sends it')
    const sbx = await ctx.fresh({ secure: false })
    equal((await sbx.commands.run('echo open')).stdout, 'open\n', 'a command without a token')
    await sbx.files.write('open.txt', 'open')
    equal(await sbx.files.read('open.txt'), 'open', 'a file without a token')
    const url = await sbx.downloadUrl('open.txt')
    check(!url.includes('signature'), `an unsigned address: ${url}`)
  },

  async 'create: unknown template'(ctx) {
    const error = await fails(ctx.fresh({}, 'no-such-template'), 'Error', /no-such-template/)
    check(/404|not found/i.test(error.message), error.message)
  },

  async 'create: lifecycle, pause at the end of the timeout'(ctx) {
    const sbx = await createAutoPausing(ctx, { timeoutMs: 60_000 })
    await sbx.files.write('kept.txt', 'kept')
    await sbx.setTimeout(1000)
    await until(async () => (await ctx.Sandbox.getInfo(sbx.sandboxId)).state === 'paused', 'pausing by itself')
    equal(await sbx.isRunning(), false, 'running while paused')
    const again = await ctx.Sandbox.connect(sbx.sandboxId, { timeoutMs: 60_000 })
    equal(await again.files.read('kept.txt'), 'kept', 'the file after waking')
  },

  async 'create: lifecycle, wake up by traffic'(ctx) {
    if (!ctx.since('2.14.0')) ctx.absent('the client has no autoResume')
    const sbx = await ctx.fresh({ lifecycle: { onTimeout: 'pause', autoResume: true }, timeoutMs: 120_000 })
    await sbx.files.write('kept.txt', 'kept')
    await sbx.pause()
    equal((await ctx.Sandbox.getInfo(sbx.sandboxId)).state, 'paused', 'state')
    equal(await sbx.files.read('kept.txt'), 'kept', 'a read of a paused sandbox that wakes up')
    const info = await ctx.Sandbox.getInfo(sbx.sandboxId)
    equal(info.state, 'running', 'state after traffic')
    if (info.lifecycle) equal(info.lifecycle, { onTimeout: 'pause', autoResume: true }, 'lifecycle')
  },

  async 'getInfo'(ctx) {
    const sbx = await ctx.shared()
    const [one, two] = [await sbx.getInfo(), await ctx.Sandbox.getInfo(sbx.sandboxId)]
    equal(one.sandboxId, two.sandboxId, 'id')
    check(one.startedAt < one.endAt, 'times')
    check(/^\d+\.\d+\.\d+$/.test(one.envdVersion), `version ${one.envdVersion}`)
    await fails(ctx.Sandbox.getInfo('i00000000000000000000'), 'NotFoundError', /i00000000000000000000|not found/)
  },

  async 'getFullInfo'(ctx) {
    const sbx = await ctx.shared()
    const info = await ctx.need(ctx.Sandbox, 'getFullInfo')(sbx.sandboxId)
    equal(info.sandboxId, sbx.sandboxId, 'id')
    equal(info.state, 'running', 'state')
  },

  async 'list: filters'(ctx) {
    const mark = `filters ${ctx.unique} ä&=%`
    const mine = await Promise.all([0, 1].map((n) => ctx.fresh({ metadata: { mark, n: String(n) } })))
    const ids = async (query) => (await ctx.Sandbox.list({ query }).nextItems()).map((s) => s.sandboxId).sort()
    equal(await ids({ metadata: { mark } }), mine.map((s) => s.sandboxId).sort(), 'by metadata')
    equal(await ids({ metadata: { mark, n: '1' } }), [mine[1].sandboxId], 'by two keys')
    equal(await ids({ metadata: { mark: 'other' } }), [], 'by another value')
    await mine[0].pause()
    equal(await ids({ metadata: { mark }, state: ['paused'] }), [mine[0].sandboxId], 'paused ones')
    equal(await ids({ metadata: { mark }, state: ['running'] }), [mine[1].sandboxId], 'running ones')
    equal((await ids({ metadata: { mark }, state: ['running', 'paused'] })).length, 2, 'both')
  },

  async 'list: paginator (field report 10)'(ctx) {
    const mark = `pages-${ctx.unique}`
    const made = await Promise.all(Array.from({ length: 25 }, () => ctx.fresh({ metadata: { mark } })))
    const pages = async (limit, between) => {
      const paginator = ctx.Sandbox.list({ query: { metadata: { mark } }, limit })
      const got = []
      while (paginator.hasNext) {
        got.push((await paginator.nextItems()).map((s) => s.sandboxId))
        await between?.(got)
        check(got.length < 10, 'an endless list')
      }
      return got
    }
    const tens = await pages(10)
    equal(tens.map((p) => p.length), [10, 10, 5], 'pages of 10')
    equal(new Set(tens.flat()).size, 25, 'without doubles')
    equal((await pages(25)).map((p) => p.length), [25], 'one page of exactly 25')
    const order = tens.flat()
    const killed = await pages(10, async (got) => {
      if (got.length === 1) await ctx.Sandbox.kill(order[15])
    })
    equal(killed.flat().length, 24, 'with one killed between two pages')
    await fails(ctx.Sandbox.list({ nextToken: 'garbage!' }).nextItems(), 'SandboxError', /400/)
    await Promise.all(made.map((s) => s.kill()))
  },

  async 'setTimeout'(ctx) {
    const sbx = await ctx.fresh({ timeoutMs: 60_000 })
    await sbx.setTimeout(500_000)
    check(near((await sbx.getInfo()).endAt, 500_000), 'longer')
    await ctx.Sandbox.setTimeout(sbx.sandboxId, 30_000)
    check(near((await sbx.getInfo()).endAt, 30_000), 'shorter')
    await fails(ctx.Sandbox.setTimeout('i00000000000000000000', 1000), 'Error', /not found|404|exist/i)
  },

  async 'timeout: the sandbox ends'(ctx) {
    const sbx = await ctx.fresh({ timeoutMs: 1000 })
    await until(async () => !(await sbx.isRunning()), 'the end of the timeout')
    await fails(ctx.Sandbox.getInfo(sbx.sandboxId), 'NotFoundError')
    equal(await ctx.Sandbox.kill(sbx.sandboxId), false, 'kill after the end')
  },

  async 'timeout: during a stream'(ctx) {
    const sbx = await ctx.fresh({ timeoutMs: 60_000 })
    const handle = await sbx.commands.run('sleep 600', { background: true })
    await sbx.setTimeout(1000)
    if (ctx.since('2.20.0')) await fails(handle.wait(), 'TimeoutError', /sandbox/i)
    else await fails(handle.wait(), 'SandboxError', /terminated/) // it does not ask whether the sandbox lives
    await fails(sbx.commands.run('true'), 'SandboxError', /sandbox/i)
    await fails(sbx.files.read('/etc/hostname'), 'TimeoutError', /sandbox/i)
  },

  async 'isRunning'(ctx) {
    const sbx = await ctx.fresh()
    equal(await sbx.isRunning(), true, 'running')
    await sbx.kill()
    equal(await sbx.isRunning(), false, 'after kill')
  },

  async 'pause and connect'(ctx) {
    const sbx = await ctx.fresh({ metadata: { kept: 'yes' }, envs: { KEPT: 'too' } })
    await sbx.files.write('kept.txt', 'kept')
    const handle = await sbx.commands.run('while :; do date +%s%N >ticks; sleep 0.1; done', { background: true, timeoutMs: 0 })
    await until(() => sbx.files.read('ticks'), 'the loop')
    await sbx.pause()
    equal(await sbx.isRunning(), false, 'running while paused')
    equal((await sbx.getInfo()).state, 'paused', 'state')
    await fails(sbx.commands.run('true'), 'SandboxError', /not running|sandbox/i)
    await fails(sbx.files.read('kept.txt'), 'TimeoutError', /not found|sandbox/i)
    const again = await ctx.Sandbox.connect(sbx.sandboxId)
    equal(again.sandboxId, sbx.sandboxId, 'id')
    equal(await again.files.read('kept.txt'), 'kept', 'file')
    equal((await again.commands.run('echo $KEPT')).stdout, 'too\n', 'variables')
    equal((await again.getInfo()).metadata, { kept: 'yes' }, 'metadata')
    const tick = await again.files.read('ticks')
    await until(async () => (await again.files.read('ticks')) !== tick, 'the loop going on')
    equal(await again.commands.kill(handle.pid), true, 'kill of the process that slept too')
    await handle.wait().catch(() => {})
  },

  async 'pause twice'(ctx) {
    const sbx = await ctx.fresh()
    await sbx.pause()
    equal(await ctx.Sandbox.pause(sbx.sandboxId), false, 'the second pause')
    await fails(ctx.Sandbox.pause('i00000000000000000000'), 'NotFoundError')
    await sbx.connect()
    equal(await sbx.isRunning(), true, 'after connect of the instance')
  },

  async 'betaPause'(ctx) {
    const sbx = await ctx.fresh()
    await ctx.need(sbx, 'betaPause')()
    equal((await sbx.getInfo()).state, 'paused', 'state')
    equal(await ctx.Sandbox.betaPause(sbx.sandboxId), false, 'the second one')
  },

  async 'connect: a running one keeps its time (field report 8)'(ctx) {
    const sbx = await ctx.fresh({ timeoutMs: 1_800_000 })
    await ctx.Sandbox.connect(sbx.sandboxId, { timeoutMs: 60_000 })
    check(near((await sbx.getInfo()).endAt, 1_800_000), 'not shortened')
    await ctx.Sandbox.connect(sbx.sandboxId, { timeoutMs: 2_400_000 })
    check(near((await sbx.getInfo()).endAt, 2_400_000), 'extended')
  },

  async 'connect: unknown'(ctx) {
    await fails(ctx.Sandbox.connect('i00000000000000000000'), 'NotFoundError', /i00000000000000000000|not found/)
  },

  async 'kill twice'(ctx) {
    const [one, two] = [await ctx.fresh(), await ctx.fresh()]
    equal(await ctx.Sandbox.kill(one.sandboxId), true, 'the first kill')
    equal(await ctx.Sandbox.kill(one.sandboxId), false, 'the second kill')
    await two.kill()
    equal(await ctx.Sandbox.kill(two.sandboxId), false, 'kill after kill of the instance')
  },

  async 'kill: while others look (field report 9)'(ctx) {
    const mark = `watched-${ctx.unique}`
    const sbx = await ctx.fresh({ metadata: { mark } })
    let gone = false
    const states = new Set()
    const look = async () => {
      for (let absent = 0; absent < 5; ) {
        const items = await ctx.Sandbox.list({ query: { metadata: { mark } } }).nextItems()
        check(!(gone && items.length > 0 && absent > 0), 'listed again after it was absent')
        items.forEach((s) => states.add(s.state))
        if (items.length === 0) absent++
        await ctx.Sandbox.getInfo(sbx.sandboxId).then(
          (info) => states.add(info.state),
          (e) => check(e.name === 'NotFoundError' || e.constructor.name.includes('NotFound'), `${e.name}: ${e.message}`)
        )
      }
    }
    const lookers = Array.from({ length: 8 }, look)
    await sleep(100)
    equal(await ctx.Sandbox.kill(sbx.sandboxId), true, 'kill')
    gone = true
    await Promise.all(lookers)
    for (const state of states) check(['running', 'paused'].includes(state), `state ${state}`)
  },

  async 'getMetrics'(ctx) {
    const sbx = await ctx.shared()
    const metrics = await until(async () => {
      const got = await sbx.getMetrics()
      return got.length > 0 && got
    }, 'a first sample', 20_000)
    const last = metrics.at(-1)
    check(last.cpuCount >= 1 && last.memTotal > 0 && last.memUsed > 0 && last.diskTotal > 0, JSON.stringify(last))
    check(Math.abs(last.timestamp.getTime() - Date.now()) < 600_000, `time ${last.timestamp}`)
    if (!ctx.since('2.20.0')) return // it does not send the range
    const early = { start: new Date(Date.now() - 7200_000), end: new Date(Date.now() - 3600_000) }
    equal(await ctx.Sandbox.getMetrics(sbx.sandboxId, early), [], 'before it was made')
  },
}
