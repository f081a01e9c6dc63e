"""Sessions: a shell whose state outlives its commands."""
import asyncio
import time
import uuid

import pytest

from conftest import until

pytest_plugins = ["python_package"]
pytestmark = pytest.mark.root


@pytest.fixture
def session(box, daemon):
    """The name of a session; the daemon is asked whether it has such."""
    if daemon.get(f"/api/sandboxes/{box.id}/sessions").status_code == 404:
        pytest.skip("this daemon has no sessions")
    name = str(uuid.uuid4())
    box.process.create_session(name)
    yield name
    try:
        box.process.delete_session(name)
    except LookupError:
        pass
    except Exception as e:
        assert "not found" in str(e)


def test_r15_text_request_dict_and_both_ways_to_call(box, session):
    from sandbox import SessionExecuteRequest
    run = box.process.execute_session_command
    for req in ("echo x", SessionExecuteRequest(command="echo x"), {"command": "echo x"}, SessionExecuteRequest("echo x", cwd="/tmp")):
        got = run(session, req)
        assert (got.exit_code, got.output, got.stdout, got.stderr, got.result) == (0, "x\n", "x\n", "", "x\n") and got.cmd_id
    assert run(session_id=session, req=SessionExecuteRequest("echo kw", var_async=False), timeout=30).output == "kw\n"
    assert run(session, request="echo old name").output == "old name\n"


def test_r39_state_is_kept(box, session):
    run = box.process.execute_session_command
    run(session, "cd /tmp; export A=1; f() { echo \"f $A $1\"; }")
    assert run(session, "pwd; f 2").output == "/tmp\nf 1 2\n"
    from sandbox import SessionExecuteRequest
    assert run(session, SessionExecuteRequest("pwd", cwd="/workspace")).output == "/workspace\n"
    assert run(session, "pwd").output == "/tmp\n"
    assert run(session, "exit 7").exit_code == 7
    assert run(session, "exec true").exit_code == 0
    assert run(session, "echo \"$A\"; false").exit_code == 1


def test_r39_streams_apart_and_merged(box, session):
    got = box.process.execute_session_command(session, "echo out; echo err >&2; printf '\\377'")
    assert (got.stdout, got.stderr) == ("out\n\ufffd", "err\n") and "out\n" in got.output and "err\n" in got.output
    logs = box.process.get_session_command_logs(session_id=session, command_id=got.cmd_id)
    assert logs == got.output and logs.stdout == got.stdout and logs.stderr == got.stderr and logs.exit_code == 0
    assert "err" in logs and logs.split("\n")


def test_r39_an_asynchronous_command_and_its_growing_logs(box, session):
    from sandbox import SessionExecuteRequest
    begin = time.monotonic()
    got = box.process.execute_session_command(session, SessionExecuteRequest("echo one; read x; echo \"two $x\"; exit 3", var_async=True))
    assert time.monotonic() - begin < 30 and got.exit_code is None and got.cmd_id
    read = lambda: box.process.get_session_command_logs(session, got.cmd_id)
    until(lambda: read() == "one\n")
    assert read().exit_code is None and box.process.get_session_command(session, got.cmd_id).exit_code is None
    box.process.send_session_command_input(session, got.cmd_id, "ü\n")
    until(lambda: read().exit_code == 3)
    assert read() == "one\ntwo ü\n" and box.process.get_session_command(session, got.cmd_id).exit_code == 3


def test_background_children_never_hang_it(box, session):
    begin = time.monotonic()
    assert box.process.execute_session_command(session, "sleep 600 & echo started").output == "started\n"
    assert time.monotonic() - begin < 60


def test_r37_a_time_limit(box, session):
    with pytest.raises(TimeoutError) as caught:
        box.process.execute_session_command(session, "echo before; sleep 8642", timeout=1.5)
    assert caught.value.result.output == "before\n"
    assert box.process.execute_session_command(session, "echo usable").output == "usable\n"
    until(lambda: b"8642" not in box.process.exec("cat /proc/[0-9]*/cmdline").stdout_bytes)


def test_a_command_may_take_longer_than_other_calls(box, session, daemon):
    import sandbox
    impatient = sandbox.Sandbox(sandbox.Client(url=daemon.url, timeout_s=0.5), box._info)
    assert impatient.process.execute_session_command(session, "sleep 1; echo done").output == "done\n"


def test_r43_a_cancelled_command_is_ended_and_the_session_goes_on(box, session):
    from sandbox.aio import AsyncSandbox

    async def main():
        process = AsyncSandbox(box).process
        await process.execute_session_command(session, "cd /tmp")
        command = asyncio.create_task(process.execute_session_command(session, "sleep 3579; true"))
        while b"sleep\0" + b"3579" not in (await process.exec("cat /proc/[0-9]*/cmdline")).stdout_bytes:
            await asyncio.sleep(0.02)
        command.cancel()
        with pytest.raises(asyncio.CancelledError):
            await command
        return (await process.execute_session_command(session, "pwd")).output
    begin = time.monotonic()
    assert asyncio.run(main()) == "/tmp\n"
    assert time.monotonic() - begin < 60
    until(lambda: b"3579" not in box.process.exec("cat /proc/[0-9]*/cmdline").stdout_bytes)


def test_twice_listed_and_deleted(box, session):
    from sandbox import NotFoundError
    box.process.execute_session_command(session, "A=kept")
    box.process.create_session(session)  # lives already: the same one
    assert box.process.execute_session_command(session, "echo $A").output == "kept\n"
    assert session in [s.session_id for s in box.process.list_sessions()]
    assert [c.command for c in box.process.get_session(session).commands][:1] == ["A=kept"]
    box.process.execute_session_command(session, {"command": "sleep 6543", "async": True})
    box.process.delete_session(session)
    until(lambda: b"6543" not in box.process.exec("cat /proc/[0-9]*/cmdline").stdout_bytes, why="delete left a process")
    for call in (lambda: box.process.execute_session_command(session, "true"), lambda: box.process.get_session(session),
                 lambda: box.process.delete_session(session), lambda: box.process.get_session_command_logs(session, "c")):
        with pytest.raises(NotFoundError, match="not found"):
            call()


def test_the_asynchronous_twin(box, session):
    from sandbox.aio import AsyncSandbox

    async def main():
        process = AsyncSandbox(box).process
        await process.create_session(session)
        got = await process.execute_session_command(session, {"command": "echo a; echo b >&2", "var_async": True})
        while (logs := await process.get_session_command_logs(session, got.cmd_id)).exit_code is None:
            await asyncio.sleep(0.02)
        assert (logs.stdout, logs.stderr) == ("a\n", "b\n")
        assert session in [s.id for s in await process.list_sessions()] and (await process.get_session(session)).commands
        assert (await process.get_session_command(session, got.cmd_id)).exit_code == 0
        await process.delete_session(session)
    asyncio.run(main())


def test_hundred_sessions_do_not_leak(box, session):
    """Fewer commands than the hundred each of the requirement, which the session's own tests run."""
    import os
    files = len(os.listdir("/proc/self/fd"))
    for i in range(100):
        name = f"many-{i}"
        box.process.create_session(name)
        assert box.process.execute_session_command(name, f"A={i}; echo $A").output == f"{i}\n"
        box.process.delete_session(name)
    assert len(os.listdir("/proc/self/fd")) <= files + 2
    assert not [s for s in box.process.list_sessions() if s.id.startswith("many-")]
