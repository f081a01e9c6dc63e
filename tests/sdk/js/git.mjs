// The git helpers, on repositories inside the sandbox.
import { check, equal, fails } from './context.mjs'

/** A repository with one commit on main. */
async function repository(ctx) {
  const [sbx, dir] = await ctx.folder()
  const git = sbx.git
  const repo = `${dir}/repo`
  await git.init(repo, { initialBranch: 'main' })
  await git.configureUser('Test', 'test@example.com', { scope: 'local', path: repo })
  await sbx.files.write(`${repo}/a.txt`, 'one\n')
  await git.add(repo)
  await git.commit(repo, 'first')
  return { sbx, dir, git, repo }
}

export default {
  async 'git: init, configureUser, add, commit, status'(ctx) {
    const { sbx, git, repo } = await repository(ctx)
    let status = await git.status(repo)
    equal([status.currentBranch, status.isClean], ['main', true], 'status')
    await sbx.files.write(`${repo}/b c.txt`, 'two\n')
    await sbx.files.write(`${repo}/a.txt`, 'changed\n')
    status = await git.status(repo)
    equal([status.isClean, status.untrackedCount, status.totalCount], [false, 1, 2], 'changed')
    await git.add(repo, { files: ['b c.txt'] })
    status = await git.status(repo)
    const staged = status.fileStatus.filter((f) => f.staged).map((f) => f.name.replaceAll('"', '')) // the SDK leaves git's quotes
    equal(staged, ['b c.txt'], 'staged')
    await git.commit(repo, 'second', { authorName: 'Other', authorEmail: 'other@example.com' })
    equal((await sbx.commands.run('git log -1 --format="%an %s"', { cwd: repo })).stdout, 'Other second\n', 'log')
  },

  async 'git: branches, createBranch, checkoutBranch, deleteBranch'(ctx) {
    const { git, repo } = await repository(ctx)
    await git.createBranch(repo, 'work')
    equal((await git.branches(repo)).currentBranch, 'work', 'the new branch')
    await git.checkoutBranch(repo, 'main')
    equal((await git.branches(repo)).branches.sort(), ['main', 'work'], 'branches')
    await git.deleteBranch(repo, 'work', { force: true })
    equal((await git.branches(repo)).branches, ['main'], 'after deleting')
    await fails(git.checkoutBranch(repo, 'none'), 'CommandExitError')
  },

  async 'git: remoteAdd, remoteGet, push, clone, pull'(ctx) {
    const { sbx, dir, git, repo } = await repository(ctx)
    await git.init(`${dir}/origin.git`, { bare: true, initialBranch: 'main' })
    await git.remoteAdd(repo, 'origin', `${dir}/origin.git`)
    equal(await git.remoteGet(repo, 'origin'), `${dir}/origin.git`, 'remote')
    await git.push(repo, { remote: 'origin', branch: 'main' })
    await git.clone(`${dir}/origin.git`, { path: `${dir}/copy` })
    equal(await sbx.files.read(`${dir}/copy/a.txt`), 'one\n', 'clone')
    await sbx.files.write(`${repo}/a.txt`, 'two\n')
    await git.add(repo)
    await git.commit(repo, 'second')
    await git.push(repo)
    await git.pull(`${dir}/copy`)
    equal(await sbx.files.read(`${dir}/copy/a.txt`), 'two\n', 'pull')
    check((await git.remoteGet(repo, 'none')) === undefined, 'no such remote')
  },

  async 'git: reset, restore'(ctx) {
    const { sbx, git, repo } = await repository(ctx)
    await sbx.files.write(`${repo}/a.txt`, 'changed\n')
    await git.restore(repo, { paths: ['a.txt'] })
    equal(await sbx.files.read(`${repo}/a.txt`), 'one\n', 'restore')
    await sbx.files.write(`${repo}/a.txt`, 'changed\n')
    await git.add(repo)
    await git.reset(repo, { mode: 'hard', target: 'HEAD' })
    equal(await sbx.files.read(`${repo}/a.txt`), 'one\n', 'reset')
  },

  async 'git: setConfig, getConfig'(ctx) {
    const { git, repo } = await repository(ctx)
    await git.setConfig('sandmux.test', 'value here', { scope: 'local', path: repo })
    equal(await git.getConfig('sandmux.test', { scope: 'local', path: repo }), 'value here', 'config')
    equal(await git.getConfig('sandmux.none', { scope: 'local', path: repo }), undefined, 'none')
  },

  async 'git: dangerouslyAuthenticate'(ctx) {
    const sbx = await ctx.fresh()
    await sbx.git.dangerouslyAuthenticate({ username: 'me', password: 'secret', host: 'git.example.com' })
    const stored = (await sbx.commands.run('printf "protocol=https\\nhost=git.example.com\\n\\n" | git credential fill')).stdout
    check(stored.includes('username=me') && stored.includes('password=secret'), stored)
  },
}
