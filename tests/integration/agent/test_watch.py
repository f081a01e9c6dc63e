"""WatchDir and the polled watchers."""
import http.client
import threading
import time

import pytest
from agentclient import agent, until  # noqa: F401 (a fixture)

FS = "/filesystem.Filesystem/"


class Events:
    """Collects what a WatchDir stream says, on a thread."""

    def __init__(self, agent, path, headers=None, user="user", **rest):
        self.stream = agent.open(FS + "WatchDir", {"path": path, **rest}, user, headers=headers)
        self.first = self.stream.next()
        self.got, self.keepalives = [], 0
        self.thread = threading.Thread(target=self.read, daemon=True)
        if self.first == (0, {"start": {}}):
            self.thread.start()

    def read(self):
        try:
            while (message := self.stream.next()) and not message[0] & 2:
                if "keepalive" in message[1]:
                    self.keepalives += 1
                else:
                    self.got.append(message[1]["filesystem"])
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass  # closed by us

    def has(self, name, kind):
        return any(e["name"] == name and e["type"] == "EVENT_TYPE_" + kind for e in self.got)

    def expect(self, *pairs):
        for name, kind in pairs:
            until(lambda: self.has(name, kind), f"no {kind} of {name} in {self.got}")

    def close(self):
        self.stream.close()


@pytest.fixture
def directory(agent):
    name = f"/tmp/watch{time.monotonic_ns()}"
    agent.unary(FS + "MakeDir", {"path": name})
    return name


def test_watch_missing(agent):
    first = Events(agent, "/nosuch").first
    assert first[0] == 2 and first[1]["error"]["code"] == "not_found"
    assert first[1]["error"]["message"].startswith("path /nosuch not found:")


def test_watch_file(agent):
    first = Events(agent, "/etc/passwd").first
    assert first[0] == 2 and first[1]["error"]["code"] == "invalid_argument"
    assert first[1]["error"]["message"].startswith("path /etc/passwd not a directory")


@pytest.mark.parametrize("method", ["GetWatcherEvents", "RemoveWatcher"])
def test_watcher_unknown(agent, method):
    assert agent.unary(FS + method, {"watcherId": "wnope"}) == (
        404, {"code": "not_found", "message": "watcher with id wnope not found"})
    assert agent.unary(FS + method, {})[0] == 404


def test_events_of_a_directory(agent, directory):
    e = Events(agent, directory)
    agent.sh(f"cd {directory}; echo 1 > a; chmod 600 a; mv a b; rm b; mkdir sub; echo 2 > sub/deep; chmod 700 .")
    e.expect(("a", "CREATE"), ("a", "WRITE"), ("a", "CHMOD"), ("a", "RENAME"), ("b", "CREATE"), ("b", "REMOVE"),
             ("sub", "CREATE"), (".", "CHMOD"))
    assert not any(x["name"].startswith("sub/") for x in e.got) and not any("entry" in x for x in e.got)
    agent.sh(f"rm -r {directory}")
    e.expect((".", "REMOVE"))
    e.close()


def test_recursive(agent, directory):
    agent.sh(f"mkdir -p {directory}/old/er")
    e = Events(agent, directory, recursive=True)
    agent.sh(f"cd {directory}; echo 1 > old/er/a; mkdir -p new/deep/er; echo 1 > new/deep/er/b; sleep 0.3; "
             "echo 2 > new/deep/er/c")
    e.expect(("old/er/a", "CREATE"), ("new", "CREATE"), ("new/deep/er/b", "CREATE"), ("new/deep/er/c", "CREATE"))
    agent.sh(f"cd {directory}; mv new moved; sleep 0.3; echo 3 > moved/deep/er/d; rm -r old")
    e.expect(("new", "RENAME"), ("moved", "CREATE"), ("moved/deep/er/d", "CREATE"), ("old/er/a", "REMOVE"),
             ("old", "REMOVE"))
    assert not e.has("new/deep/er/d", "CREATE")
    e.close()


def test_entries_when_asked_for(agent, directory):
    e = Events(agent, directory, includeEntry=True)
    agent.put(directory + "/file", b"hello")
    until(lambda: any(x.get("entry", {}).get("size") == "5" for x in e.got), f"no entry in {e.got}")
    agent.sh(f"rm {directory}/file")
    e.expect(("file", "REMOVE"))
    assert all("entry" not in x for x in e.got if x["type"] == "EVENT_TYPE_REMOVE")
    assert e.got[0]["entry"]["path"] == directory + "/file"
    e.close()


def test_times_of_the_stream(agent, directory):
    kept = Events(agent, directory, headers={"Keepalive-Ping-Interval": "1"})
    e = Events(agent, directory, headers={"Connect-Timeout-Ms": "300"})
    e.thread.join(20)
    assert e.stream.error["code"] == "deadline_exceeded" and e.keepalives == 0
    until(lambda: kept.keepalives > 0, "no keepalive came")
    assert kept.got == [] and kept.thread.is_alive()
    kept.close()


def test_polling(agent, directory):
    status, reply = agent.unary(FS + "CreateWatcher", {"path": directory, "recursive": True})
    watcher = {"watcherId": reply["watcherId"]}
    assert status == 200 and watcher["watcherId"].startswith("w")
    assert agent.unary(FS + "GetWatcherEvents", watcher) == (200, {})
    got = []
    agent.sh(f"mkdir {directory}/sub")

    def poll(wanted):
        got.extend(agent.unary(FS + "GetWatcherEvents", watcher)[1].get("events", []))
        return wanted in got

    until(lambda: poll({"name": "sub", "type": "EVENT_TYPE_CREATE"}), "the directory is not told")  # and is watched, now
    agent.sh(f"echo 1 > {directory}/sub/a")
    until(lambda: poll({"name": "sub/a", "type": "EVENT_TYPE_WRITE"}), "the file is not told")
    agent.settle()
    poll({})
    assert agent.unary(FS + "GetWatcherEvents", watcher) == (200, {})
    assert agent.unary(FS + "RemoveWatcher", watcher) == (200, {})
    assert agent.unary(FS + "GetWatcherEvents", watcher)[0] == 404
    assert agent.unary(FS + "RemoveWatcher", watcher)[0] == 404


def test_a_watcher_that_is_not_asked_says_what_it_lost(agent, directory):
    watcher = {"watcherId": agent.unary(FS + "CreateWatcher", {"path": directory})[1]["watcherId"]}
    agent.sh(f"cd {directory}; seq 1 9000 | xargs touch")
    agent.settle()  # it has read them all
    status, reply = agent.unary(FS + "GetWatcherEvents", watcher)
    assert (status, reply["code"]) == (429, "resource_exhausted")
    agent.sh(f"touch {directory}/again")
    until(lambda: "events" in agent.unary(FS + "GetWatcherEvents", watcher)[1])
    agent.unary(FS + "RemoveWatcher", watcher)


def test_watchers_are_bounded_and_given_back(agent, directory):
    ids = []
    while True:
        status, reply = agent.unary(FS + "CreateWatcher", {"path": directory})
        if status != 200:
            break
        ids.append(reply["watcherId"])
        assert len(ids) <= 1000
    assert (status, reply["code"]) == (429, "resource_exhausted") and len(ids) >= 10
    for i in ids:
        assert agent.unary(FS + "RemoveWatcher", {"watcherId": i}) == (200, {})
    status, reply = agent.unary(FS + "CreateWatcher", {"path": directory})
    assert status == 200
    agent.unary(FS + "RemoveWatcher", reply)


def test_field_report_7_the_requested_user(agent):
    agent.unary(FS + "MakeDir", {"path": "/root/watched"}, user="root")
    for user in ("root", "user"):
        e = Events(agent, "/root/watched", user=user)
        agent.sh("touch /root/watched/file; rm /root/watched/file", user="root")
        e.expect(("file", "CREATE"))
        e.close()
        watcher = {"watcherId": agent.unary(FS + "CreateWatcher", {"path": "/root/watched"}, user)[1]["watcherId"]}
        agent.sh("touch /root/watched/file; rm /root/watched/file", user="root")
        until(lambda: "events" in agent.unary(FS + "GetWatcherEvents", watcher)[1])
        agent.unary(FS + "RemoveWatcher", watcher)
    first = Events(agent, "/root/watched", user="nobody-such").first
    assert first[1]["error"]["code"] == "unauthenticated"
    assert agent.unary(FS + "CreateWatcher", {"path": "/root"}, "nobody-such")[0] == 401
