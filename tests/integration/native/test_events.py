"""GET /api/events: every change, numbered without gaps, resumable."""
import itertools
import json
import threading

import pytest

from conftest import until

pytestmark = pytest.mark.root


def stream_of(reply):
    """The events of a stream, one by one."""
    event = {}
    for line in reply.iter_lines(chunk_size=1, decode_unicode=True):
        if line and not line.startswith(":"):
            key, _, value = line.partition(": ")
            event[key] = value
        elif not line and event:
            event["data"] = json.loads(event["data"])
            yield event
            event = {}


def events_of(reply, n):
    return list(itertools.islice(stream_of(reply), n))


def test_life_of_a_sandbox_in_events(daemon):
    with daemon.get("/api/events", stream=True) as reply:
        assert reply.headers["Content-Type"] == "text/event-stream"
        box = daemon.create(name="watched")
        daemon.post(f"{box.path}/pause")
        daemon.post(f"{box.path}/resume")
        box.delete()
        mine, last = [], None
        for e in stream_of(reply):
            assert last is None or int(e["id"]) == last + 1, "a gap"
            last = int(e["id"])
            assert e["data"]["seq"] == last
            if e["data"].get("sandbox_id") == box.id:
                mine.append(e)
                if e["data"].get("state") == "deleted":
                    break
    states = [e["data"]["state"] for e in mine if e["event"] == "sandbox.state"]
    for state in ("running", "paused"):
        assert state in states


def test_a_client_that_comes_back_misses_nothing(daemon):
    with daemon.get("/api/events?since=0", stream=True) as reply:
        first = events_of(reply, 1)[0]
    daemon.create().delete()
    with daemon.get("/api/events", headers={"Last-Event-ID": first["id"]}, stream=True) as reply:
        ids = [int(e["id"]) for e in events_of(reply, 3)]
    assert ids == list(range(int(first["id"]) + 1, int(first["id"]) + 4))


def test_numbers_go_on_after_a_restart(fresh_daemon):
    fresh_daemon.create().delete()
    with fresh_daemon.get("/api/events?since=0", stream=True) as reply:
        before = events_of(reply, 2)
    fresh_daemon.stop()
    fresh_daemon.start()
    with fresh_daemon.get("/api/events?since=0", stream=True) as reply:
        assert events_of(reply, 2) == before


def test_fifty_watchers_see_the_same_and_leave_nothing(daemon):
    def fibers():
        return int(float(next(line for line in daemon.get("/metrics").text.splitlines() if line.startswith("sandmux_fibers ")).split()[1]))
    before = fibers()
    seen = [None] * 50
    ready = threading.Barrier(51)

    def watch(i):
        with daemon.get("/api/events", stream=True) as reply:
            ready.wait()
            seen[i] = [e["id"] for e in events_of(reply, 3)]

    threads = [threading.Thread(target=watch, args=(i,)) for i in range(50)]
    for t in threads:
        t.start()
    ready.wait()
    box = daemon.create()
    daemon.post(f"{box.path}/pause")
    box.delete()
    for t in threads:
        t.join(60)
    assert all(ids == seen[0] and len(ids) == 3 for ids in seen)
    until(lambda: fibers() <= before + 2)


@pytest.mark.parametrize("query,headers", [("?since=x", {}), ("?since=-1", {}), ("", {"Last-Event-ID": "x"})])
def test_bad_numbers(daemon, query, headers):
    assert daemon.get(f"/api/events{query}", headers=headers).status_code == 422


def test_head_of_a_stream_ends(daemon, module_sandbox):
    for path in ("/api/events", f"{module_sandbox.path}/logs?follow=1", f"{module_sandbox.path}/stats?follow=1"):
        assert daemon.request("HEAD", path, timeout=20).status_code == 200
