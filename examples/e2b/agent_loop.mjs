// A small agent: a list of steps takes the place of the model. Each step is a shell command in the same sandbox, its output
// goes back to the "model", which decides whether to go on.
import { CommandExitError, Sandbox } from 'e2b'

const steps = [
  { goal: 'make a project', command: 'mkdir -p project && cd project && git init -q && echo hello >README && ls -A' },
  { goal: 'find out what is missing', command: 'cat project/main.py' },
  { goal: 'write it', command: `printf 'import sys\\nprint("hello", *sys.argv[1:])\\n' >project/main.py` },
  { goal: 'try it', command: 'python3 project/main.py from the sandbox' },
]

async function act(sandbox, step) {
  try {
    const { stdout } = await sandbox.commands.run(step.command, { timeoutMs: 30_000 })
    return { ok: true, text: stdout.trim() }
  } catch (error) {
    if (!(error instanceof CommandExitError)) throw error
    return { ok: false, text: error.stderr.trim() }
  }
}

const sandbox = await Sandbox.create({ envs: { GIT_AUTHOR_NAME: 'agent' } })
try {
  for (const step of steps) {
    const { ok, text } = await act(sandbox, step)
    console.log(`${ok ? 'done' : 'failed'}: ${step.goal}${text ? ` -> ${text.replaceAll('\n', ', ')}` : ''}`)
  }
  console.log('files:', (await sandbox.files.list('project')).map((f) => f.name).join(', '))
} finally {
  await sandbox.kill()
}
