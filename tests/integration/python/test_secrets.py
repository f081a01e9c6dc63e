"""Planted secrets come out nowhere; what looks like code arrives as it is and runs nowhere."""
import io
import logging
import os
import pathlib
import traceback

import pytest

from package_tools import run_python

pytest_plugins = ["python_package"]
pytestmark = pytest.mark.root
NASTY = "pl4nt3d-$(touch /workspace/x)`touch /workspace/x`\"';\n\\ & | <é>"
MARK = "pl4nt3d"


@pytest.fixture
def everything_said():
    """All that the loggers say at DEBUG."""
    out, logger = io.StringIO(), logging.getLogger("sandbox")
    handler = logging.StreamHandler(out)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield out
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def test_r42_passwords_and_values_arrive_exactly_and_run_nowhere(client):
    from sandbox.runtime_manager import create_sandbox
    box = create_sandbox(NASTY, "proj")
    try:
        for command in ('printf %s "$VNC_PASSWORD"', ["printenv", "-0", "VNC_PASSWORD"]):
            assert box.process.exec(command).result.rstrip("\0") == NASTY
        assert box.process.exec('printf %s "$V"', env={"V": NASTY}).result == NASTY
        terminal_said = bytearray()
        terminal = box.process.create_pty_session(on_data=terminal_said.extend, envs={"V": NASTY})
        terminal.send_input("printf %s \"$V\" | od -An -tx1 | tr -d ' \\n'; exit\n")
        terminal.wait(30)
        assert NASTY.encode().hex().encode() in terminal_said
        assert not box.fs.exists("/workspace/x")
        assert MARK not in str(box.metadata) + repr(box) + str(box.labels)
    finally:
        box.delete()


def test_r35_secrets_are_in_no_record_and_no_error(client, daemon, everything_said, capfd):
    import sandbox
    from sandbox import _native, errors
    said = []

    def attempt(fn):
        try:
            said.append(repr(fn()))
        except Exception as e:
            said.append(repr(e) + "".join(traceback.format_exception_only(type(e), e)) + repr(getattr(e, "__dict__", "")))
    box = sandbox.Sandbox.create(password=NASTY, env={"V": NASTY})
    try:
        attempt(lambda: box.process.exec(f"echo {MARK} >/dev/null", env={"K": NASTY}))
        attempt(lambda: box.process.exec(f"echo {MARK}\0"))
        attempt(lambda: box.process.exec(f"echo {MARK}\ud800"))
        attempt(lambda: box.process.exec(f"echo {MARK}; sleep 9", timeout=0.2))
        attempt(lambda: box.process.exec([f"/no/{MARK}"]))
        attempt(lambda: box.process.exec("true", env={"K": f"{MARK}\0"}))
        attempt(lambda: box.fs.upload_file(f"{MARK}\ud800", "/workspace/f"))
        attempt(lambda: box.fs.upload_file(MARK, "/proc/nothing"))
        attempt(lambda: sandbox.Sandbox.create(password=f"{MARK}\0"))
        attempt(lambda: sandbox.Sandbox.create(runtime="e2b", password=NASTY, env={"V": NASTY}))
        attempt(lambda: sandbox.Sandbox.create(name="Not Valid!", password=NASTY))
        attempt(lambda: box)
        for client in (sandbox.Client(url=daemon.url, api_key=f"smx_{MARK}"), sandbox.Client(url=f"http://user:{MARK}@127.0.0.1:1")):
            attempt(client.status)
            attempt(lambda client=client: client)
        attempt(lambda: sandbox.SessionExecuteRequest(f"echo {MARK}"))
    finally:
        box.delete()
    out = everything_said.getvalue()
    assert "create" in out and "exec" in out and len(said) >= 15
    for text in [out, *capfd.readouterr()]:
        assert MARK not in text
    url_errors = [s for s in said if "user:" in s]
    assert MARK not in "".join(s for s in said if s not in url_errors), said
    assert errors and _native


def test_r35_secrets_are_in_no_argument_list_and_no_daemon_log(client, daemon):
    from sandbox.runtime_manager import create_sandbox
    box = create_sandbox(NASTY, "proj")
    try:
        box.process.exec(["true"], env={"V": NASTY})
        for entry in pathlib.Path("/proc").iterdir():
            try:
                assert entry.name == str(os.getpid()) or not entry.name.isdigit() or MARK.encode() not in (entry / "cmdline").read_bytes()
            except OSError:
                pass
        for path in ("/api/runtime/status", "/api/runtime/health", f"/api/sandboxes/{box.id}", f"/api/sandboxes/{box.id}/logs", "/metrics"):
            assert MARK not in daemon.get(path).text
        assert MARK not in daemon.log()
    finally:
        box.delete()


def test_a_key_is_asked_for_and_told_to_nobody(package, make_daemon):
    import sandbox
    d = make_daemon("--require-keys")
    without = sandbox.Client(url=d.url)
    with pytest.raises(PermissionError) as caught:
        without.status()
    assert caught.value.code == "unauthorized" and "key" in caught.value.hint
    wrong = sandbox.Client(url=d.url, api_key=f"smx_{MARK}")
    with pytest.raises(sandbox.SandboxError) as caught:
        wrong.list()
    assert MARK not in str(caught.value) and MARK not in d.log() and MARK not in repr(wrong)
    for bad in ("a\nb", "é", "a b"):
        with pytest.raises(sandbox.SandboxError):
            sandbox.Client(url=d.url, api_key=bad).list()
    d.stop()


def test_an_unreachable_daemon(package):
    import sandbox
    for url in ("http://127.0.0.1:1", "unix:/nowhere/at/all.sock"):
        with pytest.raises(ConnectionError, match="no daemon answers") as caught:
            sandbox.Client(url=url).status()
        assert caught.value.retryable and caught.value.hint
    for url in ("ftp://x", "http://", "nonsense", "http://h:99999"):
        with pytest.raises(ValueError, match="URL"):
            sandbox.Client(url=url).status()
    done = run_python("import sandbox; sandbox.default_client().status()", "http://127.0.0.1:1")
    assert "ProviderUnavailableError" in done.stderr and done.returncode == 1
