"""Sandboxes as objects: life cycle, what they have, the runtime manager, names that callers rely on."""
import asyncio
import json
import re
import urllib.request

import pytest

from conftest import until
from package_tools import ids_of

pytest_plugins = ["python_package"]
pytestmark = pytest.mark.root


def test_r06_environment_of_a_created_sandbox(client):
    from sandbox.runtime_manager import create_sandbox
    box = create_sandbox("pass'word", "p1")
    try:
        got = dict(i.split("=", 1) for i in box.process.exec(["env", "-0"]).result.split("\0") if i)
        wanted = {"CHROME_PERSISTENT_SESSION": "true", "RESOLUTION": "1024x768x24", "RESOLUTION_WIDTH": "1024", "RESOLUTION_HEIGHT": "768",
                  "VNC_PASSWORD": "pass'word", "ANONYMIZED_TELEMETRY": "false", "CHROME_PATH": "", "CHROME_USER_DATA": "",
                  "CHROME_DEBUGGING_PORT": "9222", "CHROME_DEBUGGING_HOST": "localhost", "CHROME_CDP": ""}
        assert wanted.items() <= got.items()
        assert box.metadata["created_by"] == "suna" and box.metadata["project_id"] == "p1"
    finally:
        box.delete()


def test_a_create_that_cannot_be_completed_is_removed(client, daemon, monkeypatch):
    from sandbox import _suna
    from sandbox.runtime_manager import create_sandbox
    before = ids_of(daemon)

    def fails(box):
        raise RuntimeError("services did not start")
    monkeypatch.setattr(_suna, "ensure_services", fails)
    with pytest.raises(RuntimeError):
        create_sandbox("pw", "p")
    assert ids_of(daemon) == before


def test_services_of_an_image_are_started(client, monkeypatch):
    """supervisord, where an image has it: played by a script in another folder, since this template's /usr is read-only."""
    from sandbox import Sandbox, UnsupportedError, _suna
    from sandbox._suna import ensure_services
    for name in ("SUPERVISORD", "SERVICES_ARE_DOWN"):
        monkeypatch.setattr(_suna, name, getattr(_suna, name).replace("/usr/bin/", "/workspace/bin/").replace(
            "supervisorctl", "/workspace/bin/supervisorctl"))
    with Sandbox.create() as box:
        ensure_services(box)
        box.fs.upload_file("", "/etc/supervisor/conf.d/supervisord.conf")
        box.fs.upload_file("#!/bin/sh\nprintf '%s\\n' \"$*\" >/workspace/started\nexec sleep 1000\n", "/workspace/bin/supervisord", "755")
        box.fs.upload_file("#!/bin/sh\npgrep -f 'sleep 1000'\n", "/workspace/bin/supervisorctl", "755")
        try:
            ensure_services(box)
        except UnsupportedError:
            pytest.skip("this daemon has no sessions")
        until(lambda: box.fs.exists("/workspace/started"))
        assert box.fs.download_file("/workspace/started") == b"-n -c /etc/supervisor/conf.d/supervisord.conf\n"


def test_r13_same_id_same_machine_from_another_process_too(client, daemon):
    from package_tools import say
    from sandbox.runtime_manager import get_or_start_sandbox
    program = """
        import asyncio
        from sandbox.runtime_manager import get_or_start_sandbox
        box = asyncio.run(get_or_start_sandbox("same"))
        print(box.id, box.fs.download_file("/workspace/mark").decode())
    """
    box = asyncio.run(get_or_start_sandbox("same"))
    try:
        box.fs.upload_file("here", "/workspace/mark")
        assert say(program, daemon.url) == "same here\n"
        box.pause() if hasattr(box, "pause") else None
        assert asyncio.run(get_or_start_sandbox("same")).state == "started"
        box.stop()
        again = asyncio.run(get_or_start_sandbox("same"))
        assert again.state == "running" and again.fs.download_file("/workspace/mark") == b"here"
        assert asyncio.run(get_or_start_sandbox(again._info["id"])).fs.exists("/workspace/mark")
    finally:
        assert client.delete("same")


def test_r13_same_machine_after_a_restart_of_the_daemon(package, fresh_daemon):
    """The handle goes on too: it finds the socket again."""
    import sandbox
    from sandbox.runtime_manager import get_or_start_sandbox
    sandbox.configure(url=f"unix:{fresh_daemon.socket}")
    box = asyncio.run(get_or_start_sandbox("lasting"))
    box.fs.upload_file("here", "/workspace/mark")
    fresh_daemon.stop()
    with pytest.raises(ConnectionError, match="no daemon answers"):
        box.info()
    fresh_daemon.start()
    again = asyncio.run(get_or_start_sandbox("lasting"))
    assert again._info["id"] == box._info["id"] and again.process.exec("cat mark").result == "here"
    assert box.process.exec("echo goes on").result == "goes on\n"


def test_r22_an_expired_one_is_made_again_and_says_so(client, caplog):
    from sandbox import NotFoundError, Sandbox
    first = Sandbox.get_or_create("brief", timeout_s=1)

    def gone():
        try:
            first.info()
        except NotFoundError:
            return True
    until(gone, why="it did not expire")
    again = Sandbox.get_or_create("brief")
    assert again.recreated and again._info["id"] != first._info["id"]
    assert any(r.levelname == "WARNING" and "brief" in r.getMessage() for r in caplog.records)
    again.delete()


def test_r24_delete_is_real(client, daemon):
    from sandbox import Sandbox
    from sandbox.errors import SandboxNotFoundError
    from sandbox.runtime_manager import delete_sandbox, get_or_start_sandbox
    box = Sandbox.create()
    assert asyncio.run(delete_sandbox(box.id)) is True
    assert box.id not in ids_of(daemon)
    for call in (lambda: box.process.exec("true"), lambda: box.fs.list_files("/"), box.info, box.start, box.delete,
                 lambda: asyncio.run(delete_sandbox(box.id)), lambda: Sandbox.get(box.id)):
        with pytest.raises(SandboxNotFoundError, match="not found"):
            call()
    assert box.delete(missing_ok=True)
    assert asyncio.iscoroutinefunction(get_or_start_sandbox) and asyncio.iscoroutinefunction(delete_sandbox)


def test_r25_states_of_one_life(fresh_box):
    from sandbox import SandboxState, UnsupportedError
    box = fresh_box
    assert box.state is SandboxState.STARTED and box.instance.state == "started"
    assert box.stop().state == SandboxState.STOPPED and box.info().state == "stopped"
    with pytest.raises(Exception, match="(?i)stopped|state|running") as caught:
        box.process.exec("true")
    assert caught.value.code == "state_conflict"
    assert box.start().state == "RUNNING" and box.process.exec("echo up").result == "up\n"
    assert box.pause().state == "paused"
    assert box.resume().state == "running"
    with pytest.raises(UnsupportedError, match="archiv"):
        box.archive()
    assert SandboxState.STOPPED != box.refresh().state


def test_r25_states_equal_their_synonyms(package):
    from sandbox import SandboxState
    assert SandboxState.of("running") is SandboxState.STARTED and SandboxState.of("Started") is SandboxState.STARTED
    assert SandboxState.STARTED == "RUNNING" and "running" == SandboxState.STARTED and SandboxState.STARTED != "stopped"
    assert SandboxState.STARTED.value == "started" and str(SandboxState.STARTED) == "started" and f"{SandboxState.STARTED}" == "started"
    assert SandboxState.of("never heard of it") is SandboxState.UNKNOWN
    assert SandboxState.STOPPED in (SandboxState.STOPPED, SandboxState.ARCHIVED) and SandboxState.STARTED not in ("stopped", "archived")
    assert json.dumps({"state": SandboxState.STARTED}) == '{"state": "started"}'
    assert {SandboxState.STARTED: 1}["started"] == 1


def test_what_describes_it(client):
    from sandbox import Resources, Sandbox
    box = Sandbox.create(name="described", project_id="p", metadata={"k": "v é"}, timeout_s=600, resources=Resources(cpu=1, memory=0.5, disk=1))
    try:
        assert (box.name, box.project_id, box.metadata, box.labels) == ("described", "p", {"k": "v é"}, {"id": "p", "k": "v é"})
        assert (box.cpu, box.memory, box.disk) == (1, 0.5, 1.0)
        assert box.target == box.runtime == "local" and box.template == "base" and box.reason is None
        for time in (box.created_at, box.updated_at, box.expires_at):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", time)
        assert box.set_timeout(0).expires_at is None
        assert box.set_labels({"new": "1"}) == {"new": "1"} and box.info().metadata == {"new": "1"}
        assert Sandbox.get("described")._info["id"] == box.id and Sandbox.get("described").id == "described"
        assert [b.id for b in Sandbox.list(project_id="p")] == [box.id]
        assert [b.id for b in Sandbox.list(state="running", limit=1)]
        assert box.stats()["memory_limit_bytes"] > 0 and box.logs(tail=1)
        assert repr(box) == f"Sandbox(id='{box.id}', runtime='local', state='started')"
    finally:
        box.delete()


def test_a_list_goes_over_pages(client, monkeypatch):
    from sandbox import Sandbox, _client
    monkeypatch.setattr(_client, "PAGE", 2)
    made = [Sandbox.create(project_id="pages") for _ in range(5)]
    assert {b.id for b in Sandbox.list(project_id="pages")} == {b.id for b in made}
    assert len(Sandbox.list(project_id="pages", limit=3)) == 3
    for box in made:
        box.delete()


def test_one_idempotency_key_makes_one(client):
    from sandbox import Sandbox
    from sandbox.errors import IdempotencyMismatchError
    a = Sandbox.create(idempotency_key="key-of-python-test")
    assert Sandbox.create(idempotency_key="key-of-python-test").id == a.id
    with pytest.raises(IdempotencyMismatchError):
        Sandbox.create(idempotency_key="key-of-python-test", project_id="other")
    a.delete()


def test_r40_preview_links(box):
    box.process.start("python3 -m http.server 8000 --directory /workspace")
    box.fs.upload_file("page", "/workspace/page.html")
    link = box.get_preview_link(8000)
    text = str(link)
    assert text.split("url='")[1].split("'")[0] == link.url and text.split("token='")[1].split("'")[0] == (link.token or "")
    assert "?" not in link.url and not link.url.endswith("/")
    host = link.url.split("//")[1]
    port = host.rpartition(":")[2]

    def page():
        ask = urllib.request.Request(f"http://127.0.0.1:{port}/page.html", headers={"Host": host})
        return urllib.request.urlopen(ask, timeout=30).read()
    assert until(page) == b"page"
    for bad in (0, 65536, -1, "80", None, True, 80.0):
        with pytest.raises(ValueError, match="port"):
            box.get_preview_link(bad)


def test_r45_backup_and_restore(client, tmp_path):
    import tarfile

    from sandbox import NotFoundError, Sandbox
    with Sandbox.create() as box, Sandbox.create() as other:
        box.process.exec("mkdir -p d/empty; head -c 300000 /dev/urandom >d/file; chmod 640 d/file; ln -s file d/link; touch -d 2001-02-03 d/file")
        box.backup(tmp_path / "all.tar")
        with tarfile.open(tmp_path / "all.tar") as tar:
            assert {"workspace/d/file", "workspace/d/empty"} <= {n.strip("./") for n in tar.getnames()}
        other.restore(tmp_path / "all.tar")
        told = "cd /workspace && find . -printf '%p %y %m %l %T@\\n' | sort && sha256sum d/file"
        assert other.process.exec(told).result.splitlines()[1:] == box.process.exec(told).result.splitlines()[1:]
        with pytest.raises(NotFoundError):
            box.backup(tmp_path / "none.tar", "/no/such/folder")
        (tmp_path / "bad.tar").write_bytes(b"no tar at all" * 1000)
        with pytest.raises(ValueError):
            other.restore(tmp_path / "bad.tar")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["all.tar", "bad.tar"]
        with pytest.raises(ValueError):
            box.migrate("local")


def test_what_is_not_supported_says_so(box):
    from sandbox import UnsupportedError
    with pytest.raises(NotImplementedError, match="not supported") as caught:
        box.create_ssh_access(expires_in_minutes=5)
    assert isinstance(caught.value, UnsupportedError)


def test_r04_r05_runtime_information(client):
    from sandbox.runtime_manager import RuntimeManager
    manager = RuntimeManager()
    assert manager.get_runtime_info() == {"runtime": "local", "available_runtimes": ["daytona", "e2b", "local"], "local_configured": True}
    manager.runtime = "E2B "
    info = manager.get_runtime_info()
    assert manager.runtime == "e2b" and {"runtime", "available_runtimes", "e2b_configured", "e2b_template"} <= info.keys()
    assert info["e2b_template"] == "base" and info["e2b_configured"] is False
    manager.runtime = "daytona"
    assert {"daytona_configured", "daytona_server", "daytona_target"} <= manager.get_runtime_info().keys()
    assert RuntimeManager().runtime == "local"  # an assignment holds for that manager alone
    with pytest.raises(ValueError, match="Invalid runtime 'x'. Must be 'daytona', 'e2b' or 'local'"):
        manager.runtime = "x"


def test_r05_what_is_missing_is_named(client, caplog):
    from sandbox.runtime_manager import runtime_manager
    assert runtime_manager.validate_runtime_config("daytona") is False
    assert "DAYTONA_API_KEY" in caplog.text and caplog.records[-1].levelname == "ERROR"
    assert runtime_manager.missing_settings("e2b") == ["E2B_API_KEY"]
    assert runtime_manager.validate_runtime_config() is True and runtime_manager.runtime == "local"


def test_r19_creating_where_nothing_is_configured(client, daemon):
    """A runtime that was named is not exchanged for another in silence (field report 18)."""
    before = ids_of(daemon)
    from sandbox.errors import ConfigError
    from sandbox.runtime_manager import RuntimeManager
    manager = RuntimeManager()
    for runtime in ("daytona", "e2b"):
        manager.runtime = runtime
        with pytest.raises(ConfigError) as caught:
            manager.create_sandbox("pw", "p")
        assert f"{runtime.upper()}_API_KEY" in str(caught.value) and "environment variables" in caught.value.hint
    manager.runtime = "e2b"
    with pytest.raises(ConfigError):
        asyncio.run(manager.get_or_start_sandbox("never-made"))
    assert ids_of(daemon) == before


def test_switching(client, caplog):
    from sandbox.errors import RuntimeNotConfiguredError
    from sandbox.runtime_manager import runtime_manager
    with pytest.raises(RuntimeNotConfiguredError, match="e2b"):
        runtime_manager.switch("e2b")
    with pytest.raises(ValueError, match="Invalid runtime 'nope'"):
        runtime_manager.switch("nope")
    assert runtime_manager.runtime == "local"
    assert runtime_manager.switch("local", dry_run=True)["current_runtime"] == "local"
    got = runtime_manager.switch("local")
    assert got["status"] == "success" and got["previous_runtime"] == "local"
    assert runtime_manager.health()["status"] == "healthy" and runtime_manager.health("local")["configured"] is True


def test_r17_capabilities_are_data(client):
    from sandbox.runtime_manager import runtime_manager
    here = runtime_manager.capabilities()
    assert here["pause_resume"] is True and here["archive"] is False
    assert runtime_manager.capabilities("daytona").keys() == here.keys()
    with pytest.raises(ValueError):
        runtime_manager.capabilities("nope")


def test_the_daytona_shaped_client(client, daemon):
    from sandbox.sandbox import CreateSandboxFromImageParams, CreateSandboxParams, Daytona, DaytonaConfig, Resources, daytona
    from sandbox.errors import SandboxNotFoundError, TemplateNotFoundError
    assert "k3y" not in repr(DaytonaConfig(api_key="k3y"))
    d = Daytona(DaytonaConfig(api_key="k", server_url="http://x", target="us"))
    params = CreateSandboxParams(public=True, labels={"id": "proj"}, env_vars={"V": "s3cret"}, resources=Resources(cpu=1, memory=1, disk=1),
                                 auto_stop_interval=15, auto_archive_interval=1440)
    assert "s3cret" not in repr(params)
    box = d.create(params)
    try:
        assert box.labels["id"] == "proj" and box.expires_at is None and box.process.exec("echo $V").result == "s3cret\n"
        assert daytona.get(box.id).id == daytona.get_current_sandbox(box.id).id == daytona.find_one(sandbox_id=box.id).id == box.id
        assert [b.id for b in daytona.list({"id": "proj"})] == [box.id]
        daytona.stop(box)
        assert daytona.get(box.id).state == "stopped"
        daytona.start(box)
        assert daytona.get(box.id).state == "started"
        daytona.delete(box)
        with pytest.raises(SandboxNotFoundError, match="not found"):
            daytona.get(box.id)
        with pytest.raises(SandboxNotFoundError):
            daytona.find_one(labels={"id": "proj"})
        with pytest.raises(TemplateNotFoundError, match="not found"):
            d.create(CreateSandboxFromImageParams(image="kortix/suna:0.1.3", resources={"cpu": 2, "memory": 4, "disk": 5}))
    finally:
        box.delete(missing_ok=True)
