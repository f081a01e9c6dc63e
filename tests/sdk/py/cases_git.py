"""The git helpers, on repositories inside the sandbox."""
import e2b
from context import check, equal

CASES = {}


def case(name):
    return lambda fn: CASES.setdefault(name, fn)


async def repository(c):
    """A repository with one commit on main."""
    sbx, d = await c.folder()
    repo = f"{d}/repo"
    await c(sbx.git.init(repo, initial_branch="main"))
    await c(sbx.git.configure_user("Test", "test@example.com", scope="local", path=repo))
    await c(sbx.files.write(f"{repo}/a.txt", "one\n"))
    await c(sbx.git.add(repo))
    await c(sbx.git.commit(repo, "first"))
    return sbx, d, sbx.git, repo


@case("git: init, configureUser, add, commit, status")
async def _(c):
    sbx, _, git, repo = await repository(c)
    status = await c(git.status(repo))
    equal((status.current_branch, status.is_clean), ("main", True), "status")
    await c(sbx.files.write(f"{repo}/b c.txt", "two\n"))
    await c(sbx.files.write(f"{repo}/a.txt", "changed\n"))
    status = await c(git.status(repo))
    equal((status.is_clean, status.untracked_count, status.total_count), (False, 1, 2), "changed")
    await c(git.add(repo, files=["b c.txt"]))
    status = await c(git.status(repo))
    staged = [f.name.strip('"') for f in status.file_status if f.staged]  # the SDK leaves git's quotes
    equal(staged, ["b c.txt"], "staged")
    await c(git.commit(repo, "second", author_name="Other", author_email="other@example.com"))
    equal((await c(sbx.commands.run('git log -1 --format="%an %s"', cwd=repo))).stdout, "Other second\n", "log")


@case("git: branches, createBranch, checkoutBranch, deleteBranch")
async def _(c):
    _, _, git, repo = await repository(c)
    await c(git.create_branch(repo, "work"))
    equal((await c(git.branches(repo))).current_branch, "work", "the new branch")
    await c(git.checkout_branch(repo, "main"))
    equal(sorted((await c(git.branches(repo))).branches), ["main", "work"], "branches")
    await c(git.delete_branch(repo, "work", force=True))
    equal((await c(git.branches(repo))).branches, ["main"], "after deleting")
    await c.fails(lambda: git.checkout_branch(repo, "none"), e2b.CommandExitException)


@case("git: remoteAdd, remoteGet, push, clone, pull")
async def _(c):
    sbx, d, git, repo = await repository(c)
    await c(git.init(f"{d}/origin.git", bare=True, initial_branch="main"))
    await c(git.remote_add(repo, "origin", f"{d}/origin.git"))
    equal(await c(git.remote_get(repo, "origin")), f"{d}/origin.git", "remote")
    await c(git.push(repo, remote="origin", branch="main"))
    await c(git.clone(f"{d}/origin.git", path=f"{d}/copy"))
    equal(await c(sbx.files.read(f"{d}/copy/a.txt")), "one\n", "clone")
    await c(sbx.files.write(f"{repo}/a.txt", "two\n"))
    await c(git.add(repo))
    await c(git.commit(repo, "second"))
    await c(git.push(repo))
    await c(git.pull(f"{d}/copy"))
    equal(await c(sbx.files.read(f"{d}/copy/a.txt")), "two\n", "pull")
    equal(await c(git.remote_get(repo, "none")), None, "no such remote")


@case("git: reset, restore")
async def _(c):
    sbx, _, git, repo = await repository(c)
    await c(sbx.files.write(f"{repo}/a.txt", "changed\n"))
    await c(git.restore(repo, paths=["a.txt"]))
    equal(await c(sbx.files.read(f"{repo}/a.txt")), "one\n", "restore")
    await c(sbx.files.write(f"{repo}/a.txt", "changed\n"))
    await c(git.add(repo))
    await c(git.reset(repo, mode="hard", target="HEAD"))
    equal(await c(sbx.files.read(f"{repo}/a.txt")), "one\n", "reset")


@case("git: setConfig, getConfig")
async def _(c):
    _, _, git, repo = await repository(c)
    await c(git.set_config("sandmux.test", "value here", scope="local", path=repo))
    equal(await c(git.get_config("sandmux.test", scope="local", path=repo)), "value here", "config")
    equal(await c(git.get_config("sandmux.none", scope="local", path=repo)), None, "none")


@case("git: dangerouslyAuthenticate")
async def _(c):
    sbx = await c.fresh()
    await c(sbx.git.dangerously_authenticate("me", "secret", host="git.example.com"))
    stored = (await c(sbx.commands.run('printf "protocol=https\\nhost=git.example.com\\n\\n" | git credential fill'))).stdout
    check("username=me" in stored and "password=secret" in stored, stored)
