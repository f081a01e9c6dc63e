// Runs cases against an unmodified `e2b` package and prints one JSON line per case:
//   {"case": "files.read text", "verdict": "yes" | "not served" | "absent" | "no", "detail": "...", "ms": 12}
// and at the end {"never_called": [...]}: methods of the SDK's classes that no case tried.
//
// Usage: calls.mjs MODULES PACKAGE [CASE...]   (MODULES: a node_modules directory; no case: all)
// The server is found by the SDK's own settings in the environment.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

import { Absent, Context, Fault, NOT_SERVED, withTimeout } from './context.mjs'
import { Recorder } from './record.mjs'
import commands from './commands.mjs'
import files from './files.mjs'
import git from './git.mjs'
import lifecycle from './lifecycle.mjs'
import ports from './ports.mjs'
import pty from './pty.mjs'
import unserved from './unserved.mjs'

const CASES = { ...lifecycle, ...commands, ...files, ...pty, ...git, ...ports, ...unserved }
const CASE_MS = 150_000

function entry(folder) {
  const about = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'))
  const main = about.exports?.['.']?.import ?? about.exports?.import ?? about.module ?? about.main
  return { version: about.version, file: pathToFileURL(path.join(folder, typeof main === 'string' ? main : main.default)) }
}

function report(line) {
  process.stdout.write(JSON.stringify(line) + '\n')
}

async function runCase(ctx, name) {
  const begin = performance.now()
  const line = { case: name }
  try {
    const verdict = await withTimeout(CASES[name](ctx), CASE_MS, name)
    line.verdict = verdict === NOT_SERVED ? NOT_SERVED : 'yes'
  } catch (e) {
    line.verdict = e instanceof Absent ? 'absent' : 'no'
    const known = e instanceof Absent || e instanceof Fault
    line.detail = known ? e.message : `${e?.name}: ${e?.message}\n${e?.stack ?? ''}`.slice(0, 2000)
  }
  line.ms = Math.round(performance.now() - begin)
  report(line)
}

async function watchClasses(recorder, e2b, ctx) {
  for (const name of ['Sandbox', 'Volume', 'Secret']) if (e2b[name]) recorder.watch(e2b[name], name)
  recorder.watchFunctions(e2b.Template, 'Template')
  const sbx = await ctx.shared()
  recorder.watchObject(sbx.files, 'files')
  recorder.watchObject(sbx.commands, 'commands')
  recorder.watchObject(sbx.pty, 'pty')
  recorder.watchObject(sbx.git, 'git')
  if (e2b.CommandHandle) recorder.watch(e2b.CommandHandle, 'CommandHandle')
  recorder.watchObject(e2b.Sandbox.list(), 'SandboxPaginator')
}

async function main() {
  const [modules, name, ...chosen] = process.argv.slice(2)
  if (!modules || !name) {
    process.stdout.write(Object.keys(CASES).join('\n') + '\n')
    return
  }
  const sdk = entry(path.join(modules, name))
  const e2b = await import(sdk.file)
  const { default: ws } = await import(entry(path.join(modules, 'ws')).file)
  const ctx = new Context(e2b, sdk.version, ws)
  const recorder = new Recorder()
  process.on('unhandledRejection', (e) => report({ stray: `${e?.name}: ${e?.message}` }))
  report({ client: `npm e2b ${sdk.version}`, node: process.version })
  try {
    await withTimeout(watchClasses(recorder, e2b, ctx), CASE_MS, 'the first sandbox')
    for (const each of chosen.length ? chosen : Object.keys(CASES)) await runCase(ctx, each)
  } finally {
    report({ never_called: recorder.neverCalled() })
    await withTimeout(ctx.done(), CASE_MS, 'the end')
  }
}

main().then(
  () => process.exit(0),
  (e) => {
    report({ fatal: `${e?.name}: ${e?.message}` })
    process.exit(1)
  }
)
