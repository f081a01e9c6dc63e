"""The same package where sandboxes are E2B's: another sandmux plays the cloud, reached by the settings of the document alone."""
import asyncio

import pytest

from conftest import Daemon, until
from package_tools import ids_of
from test_document import MANAGER, WRAPPER, run_block

pytest_plugins = ["python_package"]
pytestmark = pytest.mark.root
KEY = "e2b_" + "5ec2e7" * 6 + "abcd"


@pytest.fixture(scope="module")
def cloud():
    with Daemon() as d:
        yield d


@pytest.fixture(scope="module")
def on_e2b(cloud):
    """Its settings come from a `.env`, as the document has them."""
    d = Daemon()
    (d.dir / ".env").write_text(f"# E2B sandbox provider\nE2B_API_KEY={KEY}\nE2B_TEMPLATE_ID=base\n\n"
                                f"# Runtime provider selection (daytona or e2b)\nSANDBOX_RUNTIME=e2b\nE2B_API_URL={cloud.url}\nE2B_SANDBOX_URL={cloud.url}\n")
    d.start()
    yield d
    d.close()


@pytest.fixture
def at_e2b(package, on_e2b):
    import sandbox
    return sandbox.configure(url=on_e2b.url)


def test_r16_manager_block(at_e2b, cloud):
    got = run_block(MANAGER)
    box = got["sandbox"]
    try:
        assert got["info"] == {"runtime": "e2b", "available_runtimes": ["daytona", "e2b", "local"], "e2b_configured": True, "e2b_template": "base"}
        assert got["is_valid"] is True and box.runtime == "e2b" and box.state == "RUNNING"
        assert box.process.exec('printf %s "$VNC_PASSWORD"').result == "mypass"
        assert box.labels["project_id"] == "proj123" and box.labels["created_by"] == "suna" and "mypass" not in str(box.labels)
        assert "mypass" not in str(cloud.get("/api/sandboxes").json())
    finally:
        assert box.delete()
    until(lambda: not ids_of(cloud), why="deleted here, but not at the cloud")


def test_r16_wrapper_block_twice_finds_the_same_machine(at_e2b, cloud):
    for _ in range(2):
        got = run_block(WRAPPER, content=bytes(range(256)), command="echo said")
        box = got["sandbox"]
        assert box.id == "sandbox_id" and box.state == "RUNNING" and box.sandbox.runtime == "e2b" and got["content"] == bytes(range(256))
    assert len(ids_of(cloud)) == 1
    assert box.process.execute_session_command("session_id", "echo said").output == "said\n"
    from sandbox.e2b_sandbox import delete_e2b_sandbox
    assert asyncio.run(delete_e2b_sandbox("sandbox_id")) is True
    until(lambda: not ids_of(cloud))


def test_r36_the_call_surface_is_the_same(at_e2b):
    from sandbox import PtySize, Sandbox
    with Sandbox.create(env={"A": "$(touch x)\"';"}) as box:
        assert box.process.exec('printf %s "$A"; echo err >&2; exit 3').exit_code == 3
        assert box.process.exec('printf %s "$A"').result == "$(touch x)\"';" and box.process.exec("pwd").result == "/workspace\n"
        with pytest.raises(TimeoutError):
            box.process.exec("sleep 60", timeout=0.5)
        box.fs.upload_file(b"\x00\xff", "/deep/er/file")
        info = box.fs.get_file_info("/deep/er/file")
        assert (info.size, info.is_dir, info.permissions) == (2, False, "0644") and box.fs.download_file("/deep/er/file") == b"\x00\xff"
        with pytest.raises(FileNotFoundError, match="not found"):
            box.fs.download_file("/none")
        box.fs.create_folder("/deep/new", "700")
        box.fs.set_file_permissions("/deep/new", "711")
        assert {f.name: f.permissions for f in box.fs.list_files("/deep")} == {"er": "0755", "new": "0711"}
        program = box.process.start("cat")
        program.write("through")
        program.close_stdin()
        assert list(program) == [("stdout", b"through")] and program.exit_code == 0
        out = bytearray()
        terminal = box.process.create_pty_session(on_data=out.extend, pty_size=PtySize(cols=120, rows=40))
        terminal.send_input("stty size; exit 3\n")
        assert terminal.wait(60).exit_code == 3 and b"40 120" in out
        assert box.get_preview_link(8080).url
        capable = box.capabilities
        if capable.get("pause_resume"):
            assert box.pause().state == "paused" and box.resume().state == "started"
            assert box.fs.download_file("/deep/er/file") == b"\x00\xff"


def test_r18_existing_sandboxes_stay_where_they_are(at_e2b, cloud):
    from sandbox.runtime_manager import get_or_start_sandbox, runtime_manager
    first = runtime_manager.create_sandbox("pw", "p")
    try:
        first.fs.upload_file("here", "/workspace/mark")
        result = runtime_manager.switch("local")
        assert result["previous_runtime"] == "e2b" and result["current_runtime"] == "local"
        second = runtime_manager.create_sandbox("pw", "p")
        assert second.runtime == "local" and first.info().runtime == "e2b"
        again = asyncio.run(get_or_start_sandbox(first.id))
        assert again.runtime == "e2b" and again.fs.download_file("/workspace/mark") == b"here"
        second.delete()
    finally:
        runtime_manager.switch("e2b")
        first.delete()
    until(lambda: not ids_of(cloud))


def test_r45_a_sandbox_moves_to_another_runtime(at_e2b, cloud):
    from sandbox import Sandbox
    with Sandbox.create(runtime="local", name="moves") as box:
        box.fs.upload_file(b"\x00kept", "/workspace/d/file", "640")
        assert box.migrate("e2b").runtime == "e2b" and len(ids_of(cloud)) == 1
        assert Sandbox.get("moves").process.exec("stat -c %a d/file; cat d/file | od -c | head -1").result.startswith("640\n")
        assert box.fs.download_file("/workspace/d/file") == b"\x00kept" and box.info().id == box.id
    until(lambda: not ids_of(cloud))


@pytest.mark.parametrize("template", ["no-such-template"])
def test_r19_a_template_that_is_not_there(at_e2b, cloud, template):
    from sandbox import Sandbox
    from sandbox.errors import TemplateNotFoundError
    with pytest.raises(TemplateNotFoundError, match="not found") as caught:
        Sandbox.create(template=template)
    assert 'use "base" for the default template' in caught.value.hint and not ids_of(cloud)


def test_field_18_a_key_that_is_refused(package, make_daemon):
    """At creation the reason is named; no other runtime is used instead."""
    import sandbox
    strict = make_daemon("--require-keys")
    d = make_daemon(env={"E2B_API_KEY": KEY, "E2B_API_URL": strict.url, "E2B_SANDBOX_URL": strict.url, "SANDBOX_RUNTIME": "e2b"})
    sandbox.configure(url=d.url)
    from sandbox.errors import E2BAPIKeyInvalidError
    with pytest.raises(E2BAPIKeyInvalidError) as caught:
        sandbox.Sandbox.create()
    assert "E2B_API_KEY" in caught.value.hint and KEY not in str(caught.value) and KEY not in d.log()
    from sandbox.runtime_manager import runtime_manager
    assert runtime_manager.validate_runtime_config("e2b", live=True) is False
    d.delete_all()
    d.stop()
    strict.stop()


def test_r24_a_cloud_that_is_away(package, make_daemon):
    import sandbox
    d = make_daemon(env={"E2B_API_KEY": KEY, "E2B_API_URL": "http://127.0.0.1:1", "E2B_SANDBOX_URL": "http://127.0.0.1:1",
                         "SANDBOX_RUNTIME": "e2b"})
    sandbox.configure(url=d.url)
    with pytest.raises(ConnectionError) as caught:
        sandbox.Sandbox.create()
    assert caught.value.code == "provider_unavailable" and caught.value.retryable
    d.stop()
