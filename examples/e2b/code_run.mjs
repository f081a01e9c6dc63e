// Runs a piece of code that somebody (a model, say) wrote, and hands back what it printed or how it failed.
import { CommandExitError, Sandbox } from 'e2b'

const sandbox = await Sandbox.create({ timeoutMs: 120_000, metadata: { example: 'code_run' } })
try {
  for (const code of ['print(sum(range(101)))', 'print(1 / 0)']) {
    await sandbox.files.write('/home/user/task.py', code)
    try {
      const result = await sandbox.commands.run('python3 task.py')
      console.log('printed:', result.stdout.trim())
    } catch (error) {
      if (!(error instanceof CommandExitError)) throw error
      console.log('failed:', error.stderr.trim().split('\n').at(-1))
    }
  }
} finally {
  await sandbox.kill()
}
