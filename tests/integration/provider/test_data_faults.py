"""What a broken way to a sandbox does to commands and files: an error of its own in time, and nothing lasting."""
import time

import pytest

import faultproxy as fp
from clouds import cloud, e2b_env  # noqa: F401 (fixtures)
from conftest import Daemon

pytestmark = pytest.mark.root

SOON_S = 60  # a bound against hangs


@pytest.fixture(scope="module")
def data_proxy(cloud):
    p = fp.FaultProxy(cloud.port)
    yield p
    p.close()


@pytest.fixture(scope="module")
def box(cloud, data_proxy):
    d = Daemon(env=e2b_env(cloud.url, data_proxy.url))
    d.start()
    b = d.create()
    b.write_file("there", b"x" * 1000)
    yield b
    data_proxy.heal()
    d.close()


FAULTS = [fp.close_before, fp.close_after, fp.reset, fp.garbage, fp.endless_head, fp.huge, fp.wrong_length, fp.cut_at(5), fp.cut_at(40),
          fp.cut_at(-1), fp.answer(b"{}"), fp.answer(b"x", "text/plain"), fp.refuse(401), fp.refuse(403), fp.refuse(429), fp.refuse(500),
          fp.refuse(502, body=b'{"sandboxId":"x","message":"The sandbox was not found","code":502}'), fp.refuse(503), fp.refuse(302)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__qualname__.split(".")[0])
def test_every_call_ends_with_an_error(box, data_proxy, fault):
    calls = [lambda: box.try_exec("echo hello"), lambda: box.daemon.get(f"{box.path}/files", params={"path": "/"})]
    if fault is not fp.huge:  # that is a large file
        calls.append(lambda: box.try_read_file("there"))
    for call in calls:
        data_proxy.break_next(fault)
        begun = time.monotonic()
        try:
            reply = call()
            whole = reply.status_code < 400
        except OSError:  # a download that had begun is cut, as it must be
            whole = False
        assert time.monotonic() - begun < SOON_S
        data_proxy.heal()
        if whole and "stdout" in reply.text:  # the cut was past what counts
            assert reply.json()["stdout"] == "hello\n"
    assert box.exec("echo well")["stdout"] == "well\n"
    assert box.read_file("there") == b"x" * 1000


def test_a_silent_way_ends_with_the_callers_patience(box, data_proxy):
    data_proxy.break_next(fp.silent)
    begun = time.monotonic()
    reply = box.try_exec("echo hello", timeout_s=2)
    assert time.monotonic() - begun < SOON_S and reply.status_code >= 400, reply.text
    data_proxy.heal()
    assert box.exec("echo well")["stdout"] == "well\n"
