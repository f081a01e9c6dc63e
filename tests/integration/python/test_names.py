"""What other code relies on: names that exist and are looked up at call time, signatures of the two styles, errors from the one
table, a neighbour's package of the same name."""
import asyncio
import inspect
import pickle
import re
import subprocess
from unittest import mock

import pytest

from conftest import ROOT
from package_tools import SITE, say

pytest_plugins = ["python_package"]

NAMES = {
    "sandbox.runtime_manager": ["RuntimeManager", "config", "runtime_manager", "create_sandbox", "get_or_start_sandbox", "delete_sandbox",
                                "get_or_start_daytona_sandbox", "create_daytona_sandbox", "delete_daytona_sandbox",
                                "get_or_start_e2b_sandbox", "create_e2b_sandbox", "delete_e2b_sandbox"],
    "sandbox.e2b_sandbox": ["E2BSandbox", "E2B_API_KEY", "E2B_TEMPLATE_ID", "E2BSandboxWrapper", "E2BProcessWrapper",
                            "E2BFilesystemWrapper", "SessionExecuteRequest", "get_or_start_e2b_sandbox", "create_e2b_sandbox",
                            "delete_e2b_sandbox"],
    "sandbox.sandbox": ["daytona", "get_or_start_sandbox", "create_sandbox", "delete_sandbox", "start_supervisord_session",
                        "SessionExecuteRequest", "Daytona", "DaytonaConfig", "CreateSandboxFromImageParams", "CreateSandboxParams",
                        "CreateSandboxFromSnapshotParams", "Resources", "SandboxState", "Sandbox"],
    "sandbox.provider": ["provider"],
    "sandbox.aio": ["AsyncSandbox", "AsyncDaytona", "create_sandbox", "get_or_start_sandbox", "delete_sandbox", "runtime_manager"],
    "sandbox": ["Sandbox", "AsyncSandbox", "Client", "SandboxError", "SandboxState"],
}


@pytest.mark.parametrize("module,name", [(m, n) for m, names in NAMES.items() for n in names])
def test_r46_the_name_exists(package, module, name):
    assert hasattr(__import__(module, fromlist=[name]), name)


def test_which_are_coroutines(package):
    from sandbox import e2b_sandbox, runtime_manager as m, sandbox as names
    for fn in (m.get_or_start_sandbox, m.delete_sandbox, m.runtime_manager.get_or_start_sandbox, m.runtime_manager.delete_sandbox,
               e2b_sandbox.get_or_start_e2b_sandbox, e2b_sandbox.delete_e2b_sandbox, names.get_or_start_sandbox, names.delete_sandbox):
        assert inspect.iscoroutinefunction(fn)
    for fn in (m.create_sandbox, m.runtime_manager.create_sandbox, e2b_sandbox.create_e2b_sandbox, names.create_sandbox):
        assert not inspect.iscoroutinefunction(fn)


@pytest.mark.parametrize("runtime", ["daytona", "e2b"])
def test_functions_are_looked_up_when_called(package, runtime):
    """As the application's own tests patch them; nothing reaches a daemon."""
    from sandbox import runtime_manager as m
    made, found = mock.Mock(return_value="made"), mock.AsyncMock(return_value="found")
    gone = mock.AsyncMock(return_value=True)
    with mock.patch("sandbox.runtime_manager.config") as config, \
            mock.patch(f"sandbox.runtime_manager.create_{runtime}_sandbox", made), \
            mock.patch(f"sandbox.runtime_manager.get_or_start_{runtime}_sandbox", found), \
            mock.patch(f"sandbox.runtime_manager.delete_{runtime}_sandbox", gone):
        config.SANDBOX_RUNTIME = runtime
        manager = m.RuntimeManager()
        assert manager.runtime == runtime
        with mock.patch("sandbox.runtime_manager.runtime_manager", manager):
            assert m.create_sandbox("pw", "p") == "made"
            assert asyncio.run(m.get_or_start_sandbox("i")) == "found"
            assert asyncio.run(m.delete_sandbox("i")) is True
    made.assert_called_once_with("pw", "p")
    found.assert_awaited_once_with("i")
    gone.assert_awaited_once_with("i")


def test_a_patched_config_is_asked_instead_of_the_daemon(package, caplog):
    from sandbox.runtime_manager import RuntimeManager
    with mock.patch("sandbox.runtime_manager.config") as config:
        config.SANDBOX_RUNTIME, config.E2B_API_KEY, config.E2B_TEMPLATE_ID = "e2b", "test-key", ""
        manager = RuntimeManager()
        assert manager.get_runtime_info() == {"runtime": "e2b", "available_runtimes": ["daytona", "e2b", "local"], "e2b_configured": True,
                                              "e2b_template": "base"}
        assert manager.validate_runtime_config() is True
        config.E2B_API_KEY = ""
        assert manager.validate_runtime_config() is False and "E2B_API_KEY" in caplog.text
        config.SANDBOX_RUNTIME = " Nonsense "
        assert RuntimeManager().runtime == "daytona" and "Invalid runtime 'nonsense', defaulting to 'daytona'" in caplog.text
        config.SANDBOX_RUNTIME, config.DAYTONA_API_KEY, config.DAYTONA_SERVER_URL, config.DAYTONA_TARGET = None, "k", "http://d", None
        info = RuntimeManager().get_runtime_info()
        assert (info["daytona_configured"], info["daytona_server"], info["daytona_target"]) == (True, "http://d", None)
        assert RuntimeManager().validate_runtime_config() is False and "DAYTONA_TARGET" in caplog.text


def test_the_e2b_class_is_looked_up_when_called(package):
    from sandbox import e2b_sandbox
    with mock.patch("sandbox.e2b_sandbox.E2BSandbox") as cls, mock.patch("sandbox.e2b_sandbox.E2B_API_KEY", "key"):
        box = asyncio.run(e2b_sandbox.get_or_start_e2b_sandbox("test-id"))
        assert box.id == "test-id" and box.state == "RUNNING" and box.sandbox is cls.return_value
        assert hasattr(box, "fs") and hasattr(box, "process") and box.process is box.process
        cls.assert_called_once_with("test-id")


def test_wrappers_are_made_as_before(package):
    from sandbox.e2b_sandbox import E2BFilesystemWrapper, E2BProcessWrapper, E2BSandboxWrapper, SessionExecuteRequest
    inner = mock.Mock()
    assert E2BSandboxWrapper(inner, "given").id == "given"
    assert E2BProcessWrapper(inner)._sessions == {} and E2BFilesystemWrapper(inner)
    request = SessionExecuteRequest(command="x", var_async=True)
    assert request.var_async and request.run_async and request.cwd is None
    request.cwd = "/workspace"
    assert SessionExecuteRequest.of({"command": "x", "async": True}).run_async and SessionExecuteRequest("x").var_async is False
    assert "x-secret" not in repr(SessionExecuteRequest("x-secret"))
    with pytest.raises(TypeError):
        SessionExecuteRequest("x", unknown=1)


def test_both_styles_have_the_same_calls(package):
    """Same names, same parameters; coroutines in one, plain functions in the other."""
    from sandbox import _box, _files, _process, aio
    for plain, twin in ((_files.FileSystem, aio.AsyncFileSystem), (_process.Process, aio.AsyncProcess), (_box.Sandbox, aio.AsyncSandbox)):
        for name, fn in inspect.getmembers(plain, inspect.isfunction):
            if name.startswith("_"):
                continue
            other = getattr(twin, name)
            assert not inspect.iscoroutinefunction(fn) and inspect.iscoroutinefunction(other), name
            ours, theirs = (list(inspect.signature(f).parameters) for f in (fn, other))
            if name != "create_pty_session":
                assert ours == theirs, name
    box = aio.AsyncSandbox(_box.Sandbox(mock.Mock(), {"id": "i", "state": "running", "runtime": "local"}))
    assert inspect.iscoroutinefunction(box.fs.upload_file) and box.state == "started" and box.id == "i"
    with pytest.raises(AttributeError):
        box.no_such_name


def test_logs_are_text_and_more(package):
    from sandbox._model import CommandLogs
    logs = CommandLogs("a\nb", "a", "b", 3)
    assert "a" in logs and logs.split("\n") == ["a", "b"] and logs == "a\nb" and isinstance(logs, str)
    assert (logs.output, logs.stdout, logs.stderr, logs.exit_code) == ("a\nb", "a", "b", 3)


def test_errors_come_from_the_one_table(package):
    from sandbox import errors
    table = re.findall(r'^SMX_ERROR\((\w+), "(\w+)", ([01]), "((?:\\.|[^"])*)", "((?:\\.|[^"])*)"', (ROOT / "include/sandmux/errors.def").read_text(), re.M)
    assert list(errors.BY_CODE) == [name for _, name, *_ in table]
    for _, name, retryable, title, hint in table:
        e = errors.make(name, "something was not found")
        assert (e.code, e.retryable, e.title, e.hint) == (name, retryable == "1", title, hint.replace('\\"', '"'))
        assert str(e) == e.message == "something was not found" and isinstance(e, errors.SandboxError)
        copy = pickle.loads(pickle.dumps(e))
        assert type(copy) is type(e) and str(copy) == str(e)
    assert type(errors.make("from_the_future", "x")) is errors.InternalError
    generated = subprocess.run(["tools/gen-python-errors"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert generated == (ROOT / "python/sandbox/errors.py").read_text()


@pytest.mark.parametrize("code,builtin", [("timeout", TimeoutError), ("file_not_found", FileNotFoundError), ("invalid_request", ValueError),
                                          ("forbidden", PermissionError), ("unsupported", NotImplementedError),
                                          ("provider_unavailable", ConnectionError), ("connection_closed", ConnectionError)])
def test_errors_are_also_what_python_calls_them(package, code, builtin):
    from sandbox import errors
    assert isinstance(errors.make(code, "x"), builtin)


@pytest.mark.parametrize("first", ["application", "package"])
@pytest.mark.parametrize("regular", [False, True], ids=["namespace", "regular"])
def test_r46_lives_beside_an_applications_package(package, tmp_path, first, regular):
    """backend/sandbox/ of an application: its modules and ours are found, whichever comes first on the path."""
    own = tmp_path / "sandbox"
    own.mkdir()
    (own / "tool_base.py").write_text("NAME = 'the application'\nfrom sandbox.runtime_manager import runtime_manager\n")
    if regular:  # an application with an __init__.py says the same line as ours
        (own / "__init__.py").write_text("from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n")
    path = [str(tmp_path), str(SITE)] if first == "application" else [str(SITE), str(tmp_path)]
    program = """
        import sandbox.tool_base, sandbox.runtime_manager, sandbox.e2b_sandbox, sandbox.aio
        assert sandbox.tool_base.NAME == 'the application'
        assert sandbox.tool_base.runtime_manager is sandbox.runtime_manager.runtime_manager
        from sandbox._client import default_client
        print('both')
    """
    assert say(program, None, env={"PYTHONPATH": ":".join(path)}) == "both\n"


def test_nothing_else_is_needed_and_an_import_is_cheap(package):
    """Only the standard library; no daemon is looked for, no thread started by an import."""
    program = """
        import sys, threading
        before = set(sys.modules)
        import sandbox.runtime_manager, sandbox.e2b_sandbox, sandbox.sandbox, sandbox.aio, sandbox.provider
        foreign = {m.__name__ for n, m in list(sys.modules.items()) if n not in before and getattr(m, '__file__', None)
                   and ('site-packages' in m.__file__ or 'dist-packages' in m.__file__)}
        assert not foreign, foreign
        assert threading.active_count() == 1
        print('clean')
    """
    assert say(program, "http://127.0.0.1:1") == "clean\n"


def test_it_is_typed(package):
    assert (SITE / "sandbox" / "py.typed").exists() and (SITE / "sandbox" / "_native.pyi").exists()
    from sandbox import _native
    stub = (SITE / "sandbox" / "_native.pyi").read_text()
    for cls in (_native.Client, _native.Process, _native.Cancel):
        section = stub.split(f"class {cls.__name__}:")[1].split("\nclass ")[0]
        assert set(re.findall(r"def ([a-z]\w*)\(", section)) == {n for n in vars(cls) if not n.startswith("_")}
