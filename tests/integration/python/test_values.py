"""Sandboxes as values: equal by machine, in sets and dicts, through pickle and into other processes."""
import asyncio
import copy
import multiprocessing
import pickle

import pytest

pytest_plugins = ["python_package"]
pytestmark = pytest.mark.root


def test_objects_of_one_sandbox_are_equal(client, module_box):
    from sandbox import Sandbox
    again, listed = Sandbox.get(module_box.id), [b for b in Sandbox.list() if b.id == module_box.id]
    assert module_box == again == module_box.info() == listed[0] and hash(again) == hash(module_box)
    assert listed == [module_box] and module_box in Sandbox.list() and len({module_box, again}) == 1
    with Sandbox.create(name="another") as other:
        assert other != module_box and other == Sandbox.get("another")
    assert module_box != module_box.id and module_box != None  # noqa: E711 (that is what is asked)


def test_asynchronous_objects_too(client, module_box):
    from sandbox.aio import AsyncSandbox
    one, two = asyncio.run(AsyncSandbox.get(module_box.id)), asyncio.run(AsyncSandbox.get(module_box.id))
    assert one == two and len({one, two}) == 1 and one != module_box
    assert pickle.loads(pickle.dumps(one)) == one


def test_wrappers_of_e2bs_shape_too(client, module_box):
    from sandbox.e2b_sandbox import E2BSandboxWrapper
    one, two = E2BSandboxWrapper(module_box, "mine"), E2BSandboxWrapper(module_box, "mine")
    assert one == two and len({one, two}) == 1
    assert pickle.loads(pickle.dumps(one)).id == "mine"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_it_works(client, module_box, protocol):
    module_box.process.exec("true")
    module_box.fs.exists("/")
    same = pickle.loads(pickle.dumps(module_box, protocol))
    assert same == module_box and (same.id, same.state) == (module_box.id, module_box.state)
    assert same.process.exec("echo in").result == "in\n"


def test_copies_work(client, module_box):
    for same in (copy.copy(module_box), copy.deepcopy(module_box)):
        assert same == module_box and same.process.exec("echo in").result == "in\n"


def test_no_pickle_holds_a_key(client, daemon, module_box):
    from sandbox import Client, Sandbox
    secret = "smx_" + "5ecre7" * 5
    own = Client(url=daemon.url, api_key=secret)
    box = Sandbox(own, module_box._info)
    assert box.process.exec("echo in").result == "in\n"
    for data in (pickle.dumps(box), pickle.dumps(own)):
        assert secret.encode() not in data


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_sandbox_is_given_to_workers(client, module_box, method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        results = pool.starmap_async(type(module_box.process).exec, [(module_box.process, f"echo {i}") for i in range(6)])
        assert [r.result for r in results.get(timeout=120)] == [f"{i}\n" for i in range(6)]
