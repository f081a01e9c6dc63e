"""The Python blocks of the document, run as they are written. What they leave undefined is defined around them; nothing else is."""
import asyncio
import re
import textwrap

import pytest

pytest_plugins = ["python_package"]
pytestmark = pytest.mark.root

# The blocks as the document has them: the contract.
DOCUMENT = '''
```python
from sandbox.runtime_manager import runtime_manager

# Get current runtime info
info = runtime_manager.get_runtime_info()

# Validate configuration
is_valid = runtime_manager.validate_runtime_config()

# Create sandbox (automatically uses configured runtime)
sandbox = runtime_manager.create_sandbox(password="mypass", project_id="proj123")
```

```python
from sandbox.e2b_sandbox import get_or_start_e2b_sandbox

# Get or create E2B sandbox
sandbox = await get_or_start_e2b_sandbox("sandbox_id")

# Use filesystem operations
sandbox.fs.upload_file(content, "/path/to/file")
files = sandbox.fs.list_files("/workspace")
content = sandbox.fs.download_file("/path/to/file")

# Use process operations
sandbox.process.create_session("session_id")
sandbox.process.execute_session_command("session_id", command)
```

```python
import logging
logging.getLogger('sandbox').setLevel(logging.DEBUG)
```
'''
MANAGER, WRAPPER, DEBUG = re.findall(r"```python\n(.*?)```", DOCUMENT, re.S)


def run_block(block, **names):
    """Of a block with `await` too, which may assign what it also reads: its names afterwards."""
    given = ", ".join(f"{name}={name}" for name in names)
    body = f"async def block({given}):\n" + textwrap.indent(block + "\nreturn locals()", "    ")
    known = dict(names)
    exec(compile(body, "document", "exec"), known)
    return asyncio.run(known["block"]())


def test_manager_block(client):
    got = run_block(MANAGER)
    box = got["sandbox"]
    try:
        assert got["info"]["runtime"] == "local"
        assert got["info"]["available_runtimes"] == ["daytona", "e2b", "local"]
        assert got["is_valid"] is True
        assert box.state == "RUNNING" and box.state == "started"
        assert box.labels["id"] == "proj123" and box.project_id == "proj123"
        assert box.process.exec('printf %s "$VNC_PASSWORD"').result == "mypass"
    finally:
        box.delete()


def has_sessions(daemon, box):
    """Asked of the daemon itself."""
    return daemon.get(f"/api/sandboxes/{box.sandbox.id}/sessions").status_code != 404


@pytest.mark.parametrize("content", [b"bytes \x00\xff", bytearray(b"more"), "text é"], ids=["bytes", "bytearray", "str"])
def test_wrapper_block_files(client, content):
    block = WRAPPER.split("# Use process operations")[0]
    wanted = content.encode() if isinstance(content, str) else bytes(content)
    for _ in range(2):  # the same block twice is no error, and finds the same sandbox
        got = run_block(block, content=content)
        box = got["sandbox"]
        assert box.id == "sandbox_id" and box.state == "RUNNING"
        assert got["content"] == wanted
        assert isinstance(got["files"], list)
    assert client.delete("sandbox_id")


@pytest.mark.parametrize("kind", ["str", "request", "dict"])
def test_wrapper_block_as_a_whole(client, daemon, kind):
    from sandbox.e2b_sandbox import SessionExecuteRequest, get_or_start_e2b_sandbox
    command = {"str": "echo said", "request": SessionExecuteRequest("echo said"), "dict": {"command": "echo said"}}[kind]
    box = asyncio.run(get_or_start_e2b_sandbox("sandbox_id"))
    try:
        if not has_sessions(daemon, box):
            pytest.skip("this daemon has no sessions")
        for _ in range(2):
            got = run_block(WRAPPER, content=b"x", command=command)
        assert got["sandbox"].process.execute_session_command("session_id", command).output == "said\n"
    finally:
        client.delete("sandbox_id")


def test_debug_block_shows_every_runtime_operation(client, caplog):
    import logging
    try:
        run_block(DEBUG)
        run_block(MANAGER)["sandbox"].delete()
    finally:
        logging.getLogger("sandbox").setLevel(logging.NOTSET)
    said = "\n".join(r.getMessage() for r in caplog.records)
    for op in ("status", "create", "delete"):
        assert re.search(rf"^{op} sandbox=\S+ runtime=\S+ result=ok ms=[\d.]+$", said, re.M), said
    assert re.search(r"^create sandbox=i\w{20} runtime=local state=running$", said, re.M), said
    assert "mypass" not in said


def test_quiet_at_the_default_level(client, caplog, capfd):
    run_block(MANAGER)["sandbox"].delete()
    assert not [r for r in caplog.records if r.name.startswith("sandbox")]
    assert capfd.readouterr() == ("", "")
