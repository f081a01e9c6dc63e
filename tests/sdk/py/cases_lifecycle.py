"""Creating, finding, extending, pausing and ending sandboxes."""
import asyncio
import concurrent.futures
import datetime

import e2b
from context import check, equal

NONE = "i00000000000000000000"
CASES = {}


def case(name):
    return lambda fn: CASES.setdefault(name, fn)


def near(end, seconds, slack=20):
    now = datetime.datetime.now(datetime.timezone.utc)
    return abs((end - now).total_seconds() - seconds) < slack


@case("create: defaults")
async def _(c):
    sbx = await c.fresh()
    check(sbx.sandbox_id.startswith("i") and sbx.sandbox_id.isalnum(), sbx.sandbox_id)
    info = await c(sbx.get_info())
    equal((info.sandbox_id, info.state, info.metadata, info.name), (sbx.sandbox_id, e2b.SandboxState.RUNNING, {}, "base"), "info")
    check(near(info.end_at, 300), info.end_at)
    check(info.cpu_count >= 1 and info.memory_mb >= 128, info)
    equal((await c(sbx.commands.run("whoami; pwd"))).stdout, "user\n/home/user\n", "who and where")
    equal((await c(sbx.commands.run("echo $E2B_SANDBOX $E2B_SANDBOX_ID"))).stdout, f"true {sbx.sandbox_id}\n", "what E2B sets")


@case("create: template, metadata, envs, timeout")
async def _(c):
    metadata = {"task": "report 7", "key with space": "ä & = %", "empty": ""}
    sbx = await c.fresh("base", metadata=metadata, envs={"A": "1", "B": "two  words"}, timeout=90)
    info = await c(sbx.get_info())
    equal(info.metadata, metadata, "metadata")
    check(near(info.end_at, 90), info.end_at)
    equal((await c(sbx.commands.run('echo "$A|$B"'))).stdout, "1|two  words\n", "variables")


@case("create: idempotency_key")
async def _(c):
    key = f"key-{c.unique}"
    one = await c.fresh(idempotency_key=key)
    two = await c.fresh(idempotency_key=key)
    equal(two.sandbox_id, one.sandbox_id, "the same key gives the same sandbox")
    three = await c.fresh(idempotency_key=key + "x")
    check(three.sandbox_id != one.sandbox_id, "another key gives another one")


@case("create: unknown template")
async def _(c):
    await c.fails(lambda: c.Sandbox.create("no-such-template"), Exception, "no-such-template")


@case("create: lifecycle, pause at the end of the timeout")
async def _(c):
    sbx = await c.fresh(timeout=60, lifecycle={"on_timeout": "pause"})
    await c(sbx.files.write("kept.txt", "kept"))
    await c(sbx.set_timeout(1))

    async def paused():
        return (await c(c.Sandbox.get_info(sbx.sandbox_id))).state == e2b.SandboxState.PAUSED
    await c.until(paused, "pausing by itself")
    equal(await c(sbx.is_running()), False, "running while paused")
    again = await c(c.Sandbox.connect(sbx.sandbox_id, timeout=60))
    equal(await c(again.files.read("kept.txt")), "kept", "the file after waking")


@case("create: lifecycle, wake up by traffic")
async def _(c):
    sbx = await c.fresh(timeout=120, lifecycle={"on_timeout": "pause", "auto_resume": True})
    await c(sbx.files.write("kept.txt", "kept"))
    await c(sbx.pause())
    equal((await c(c.Sandbox.get_info(sbx.sandbox_id))).state, e2b.SandboxState.PAUSED, "state")
    equal(await c(sbx.files.read("kept.txt")), "kept", "a read of a paused sandbox that wakes up")
    info = await c(c.Sandbox.get_info(sbx.sandbox_id))
    equal(info.state, e2b.SandboxState.RUNNING, "state after traffic")
    equal((info.lifecycle["on_timeout"], info.lifecycle["auto_resume"]), ("pause", True), "lifecycle")


@case("getInfo")
async def _(c):
    sbx = await c.shared()
    one, two = await c(sbx.get_info()), await c(c.Sandbox.get_info(sbx.sandbox_id))
    equal(one.sandbox_id, two.sandbox_id, "id")
    check(one.started_at < one.end_at, "times")
    await c.fails(lambda: c.Sandbox.get_info(NONE), e2b.SandboxNotFoundException)


@case("list: filters")
async def _(c):
    mark = f"filters {c.unique} ä&=%"
    mine = [await c.fresh(metadata={"mark": mark, "n": str(n)}) for n in range(2)]

    async def ids(**query):
        items = await c(c.Sandbox.list(query=e2b.SandboxQuery(**query)).next_items())
        return sorted(s.sandbox_id for s in items)
    equal(await ids(metadata={"mark": mark}), sorted(s.sandbox_id for s in mine), "by metadata")
    equal(await ids(metadata={"mark": mark, "n": "1"}), [mine[1].sandbox_id], "by two keys")
    equal(await ids(metadata={"mark": "other"}), [], "by another value")
    await c(mine[0].pause())
    equal(await ids(metadata={"mark": mark}, state=[e2b.SandboxState.PAUSED]), [mine[0].sandbox_id], "paused ones")
    equal(await ids(metadata={"mark": mark}, state=[e2b.SandboxState.RUNNING]), [mine[1].sandbox_id], "running ones")
    equal(len(await ids(metadata={"mark": mark}, state=[e2b.SandboxState.RUNNING, e2b.SandboxState.PAUSED])), 2, "both")


@case("list: paginator (field report 10)")
async def _(c):
    mark = f"pages-{c.unique}"
    made = [await c.fresh(metadata={"mark": mark}) for _ in range(25)]

    async def pages(limit, between=None):
        paginator = c.Sandbox.list(query=e2b.SandboxQuery(metadata={"mark": mark}), limit=limit)
        got = []
        while paginator.has_next:
            got.append([s.sandbox_id for s in await c(paginator.next_items())])
            check(len(got) < 10, "an endless list")
            if between and len(got) == 1:
                await c(c.Sandbox.kill(between))
        return got
    check(c.Sandbox.list(next_token="here").next_token == "here", "next_token")
    tens = await pages(10)
    order = [name for page in tens for name in page]
    equal([len(p) for p in tens], [10, 10, 5], "pages of 10")
    equal(len(set(order)), 25, "without doubles")
    equal([len(p) for p in await pages(25)], [25], "one page of exactly 25")
    equal(sum(map(len, await pages(10, between=order[15]))), 24, "with one killed between two pages")
    await c.fails(lambda: c.Sandbox.list(next_token="garbage!").next_items(), e2b.SandboxException, "400")
    for sbx in made:
        await c(sbx.kill())


@case("setTimeout")
async def _(c):
    sbx = await c.fresh(timeout=60)
    await c(sbx.set_timeout(500))
    check(near((await c(sbx.get_info())).end_at, 500), "longer")
    await c(c.Sandbox.set_timeout(sbx.sandbox_id, 30))
    check(near((await c(sbx.get_info())).end_at, 30), "shorter")
    await c.fails(lambda: c.Sandbox.set_timeout(NONE, 5), e2b.SandboxNotFoundException)


@case("timeout: the sandbox ends")
async def _(c):
    sbx = await c.fresh(timeout=1)

    async def gone():
        return not await c(sbx.is_running())
    await c.until(gone, "the end of the timeout")
    await c.fails(lambda: c.Sandbox.get_info(sbx.sandbox_id), e2b.SandboxNotFoundException)
    equal(await c(c.Sandbox.kill(sbx.sandbox_id)), False, "kill after the end")


@case("timeout: during a stream")
async def _(c):
    sbx = await c.fresh(timeout=60)
    handle = await c(sbx.commands.run("sleep 600", background=True))
    await c(sbx.set_timeout(1))
    await c.fails(handle.wait, e2b.TimeoutException, "sandbox")
    await c.fails(lambda: sbx.commands.run("true"), e2b.SandboxNotRunningException)
    await c.fails(lambda: sbx.files.read("/etc/hostname"), e2b.SandboxNotRunningException)


@case("isRunning")
async def _(c):
    sbx = await c.fresh()
    equal(await c(sbx.is_running()), True, "running")
    await c(sbx.kill())
    equal(await c(sbx.is_running()), False, "after kill")


@case("pause and connect")
async def _(c):
    sbx = await c.fresh(metadata={"kept": "yes"}, envs={"KEPT": "too"})
    await c(sbx.files.write("kept.txt", "kept"))
    handle = await c(sbx.commands.run("while :; do date +%s%N >ticks; sleep 0.1; done", background=True, timeout=0))
    await c.until(lambda: sbx.files.read("ticks"), "the loop")
    await c(sbx.pause())
    equal(await c(sbx.is_running()), False, "running while paused")
    equal((await c(sbx.get_info())).state, e2b.SandboxState.PAUSED, "state")
    await c.fails(lambda: sbx.commands.run("true"), e2b.SandboxNotRunningException)
    again = await c(c.Sandbox.connect(sbx.sandbox_id))
    equal(await c(again.files.read("kept.txt")), "kept", "file")
    equal((await c(again.commands.run("echo $KEPT"))).stdout, "too\n", "variables")
    equal((await c(again.get_info())).metadata, {"kept": "yes"}, "metadata")
    tick = await c(again.files.read("ticks"))

    async def moved():
        return await c(again.files.read("ticks")) != tick
    await c.until(moved, "the loop going on")
    equal(await c(again.commands.kill(handle.pid)), True, "kill of the process that slept too")


@case("pause twice")
async def _(c):
    sbx = await c.fresh()
    await c(sbx.pause())
    equal(await c(c.Sandbox.pause(sbx.sandbox_id)), False, "the second pause")
    await c.fails(lambda: c.Sandbox.pause(NONE), e2b.NotFoundException)
    await c(sbx.connect())
    equal(await c(sbx.is_running()), True, "after connect of the instance")


@case("betaPause")
async def _(c):
    sbx = await c.fresh()
    await c(sbx.beta_pause())
    equal((await c(sbx.get_info())).state, e2b.SandboxState.PAUSED, "state")
    equal(await c(c.Sandbox.beta_pause(sbx.sandbox_id)), False, "the second one")


@case("connect: a running one keeps its time (field report 8)")
async def _(c):
    sbx = await c.fresh(timeout=1800)
    await c(c.Sandbox.connect(sbx.sandbox_id, timeout=60))
    check(near((await c(sbx.get_info())).end_at, 1800), "not shortened")
    await c(c.Sandbox.connect(sbx.sandbox_id, timeout=2400))
    check(near((await c(sbx.get_info())).end_at, 2400), "extended")


@case("connect: unknown")
async def _(c):
    await c.fails(lambda: c.Sandbox.connect(NONE), e2b.SandboxNotFoundException)


@case("kill twice")
async def _(c):
    one, two = await c.fresh(), await c.fresh()
    equal(await c(c.Sandbox.kill(one.sandbox_id)), True, "the first kill")
    equal(await c(c.Sandbox.kill(one.sandbox_id)), False, "the second kill")
    equal(await c(two.kill()), True, "kill of the instance")
    equal(await c(two.kill()), False, "and again")


@case("kill: while others look (field report 9)")
async def _(c):
    mark = f"watched-{c.unique}"
    sbx = await c.fresh(metadata={"mark": mark})
    states = set()

    async def look():
        absent = 0
        while absent < 5:
            items = await c(c.Sandbox.list(query=e2b.SandboxQuery(metadata={"mark": mark})).next_items())
            check(not (items and absent), "listed again after it was absent")
            states.update(s.state for s in items)
            absent += not items
            try:
                states.add((await c(c.Sandbox.get_info(sbx.sandbox_id))).state)
            except e2b.SandboxNotFoundException:
                pass
    if c.is_async:
        lookers = [asyncio.ensure_future(look()) for _ in range(8)]
        await asyncio.sleep(0.1)
        equal(await c.Sandbox.kill(sbx.sandbox_id), True, "kill")
        await asyncio.gather(*lookers)
    else:
        from context import drive
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            lookers = [pool.submit(lambda: drive(look())) for _ in range(8)]
            equal(c.Sandbox.kill(sbx.sandbox_id), True, "kill")
            for looker in lookers:
                looker.result(60)
    check(states <= {e2b.SandboxState.RUNNING, e2b.SandboxState.PAUSED}, states)


@case("getMetrics")
async def _(c):
    sbx = await c.shared()
    metrics = await c.until(sbx.get_metrics, "a first sample", 20)
    last = metrics[-1]
    check(last.cpu_count >= 1 and last.mem_total > 0 and last.mem_used > 0 and last.disk_total > 0, last)
    now = datetime.datetime.now(datetime.timezone.utc)
    hours = [now - datetime.timedelta(hours=h) for h in (2, 1)]
    equal(await c(c.Sandbox.get_metrics(sbx.sandbox_id, start=hours[0], end=hours[1])), [], "before it was made")
