"""Metrics, logs, templates and teams at E2B's door."""
import json
import time

import pytest

from conftest import until
from controlplane import TIME, Control, control, refused  # noqa: F401

pytestmark = pytest.mark.root
MIB = 1 << 20


def test_metrics(control, daemon):
    id = control.create(timeout=600)
    begun = time.time()
    daemon.exec_in(id, "timeout 1 sh -c 'while :; do :; done'; true")
    first = control.get(f"/sandboxes/{id}/metrics").json()
    assert len(first) >= 1
    m = first[-1]
    got = control.detail(id)
    assert m["cpuCount"] == got["cpuCount"] and m["memTotal"] == got["memoryMB"] * MIB and m["diskTotal"] == got["diskSizeMB"] * MIB
    assert 0 < m["memUsed"] <= m["memTotal"] and m["cpuUsedPct"] >= 0 and m["memCache"] >= 0 and m["diskUsed"] >= 0
    assert begun - 10 <= m["timestampUnix"] <= time.time() + 10 and TIME.fullmatch(m["timestamp"])
    assert control.get(f"/sandboxes/{id}/metrics?start={int(begun) - 1000}&end={int(begun) - 500}").json() == []
    assert control.get(f"/sandboxes/{id}/metrics?start={int(begun) - 1}&end={int(begun) + 1000}").json() != []
    for query in ("start=x", "end=-1", "start=1.5"):
        refused(control.get(f"/sandboxes/{id}/metrics?{query}"), 400)


def test_metrics_come_by_themselves_and_extend_nothing(control, daemon):
    box = daemon.create()
    id = box.id
    until(lambda: len(control.get(f"/sandboxes/{id}/metrics").json()) >= 1)
    until(lambda: len(control.get(f"/sandboxes/{id}/metrics").json()) >= 3, 30)
    mine = control.create(timeout=600)
    end = control.detail(mine)["endAt"]
    control.get(f"/sandboxes/{mine}/metrics")
    assert control.detail(mine)["endAt"] == end
    control.post(f"/sandboxes/{mine}/pause")
    assert control.get(f"/sandboxes/{mine}/metrics").status_code == 200
    box.delete()


def test_metrics_of_many(control):
    ids = [control.create(), control.create()]
    got = control.get(f"/sandboxes/metrics?sandbox_ids={','.join(ids)},nobody").json()["sandboxes"]
    assert set(got) == set(ids) and all(m["memTotal"] > 0 for m in got.values())
    for query in ("", "?sandbox_ids=", "?sandbox_ids=" + ",".join(["i" + "0" * 20] * 101)):
        refused(control.get("/sandboxes/metrics" + query), 400, "sandbox_ids")


def test_metrics_of_one_named_twice(control):
    """A member that stands twice in an object is none for many a parser."""
    one, two = control.create(), control.create()
    for query in (f"sandbox_ids={one},{one},{two}", f"sandbox_ids={one}&sandbox_ids={two}", f"sandbox_ids=,{one},,{two},",
                  f"sandbox_ids={one}%2C{two}&sandbox_ids={one}"):
        text = control.get(f"/sandboxes/metrics?{query}").text
        assert text.count(one) == text.count(two) == 1, text
    for query in ("sandbox_ids=,", "sandbox_ids=,,,"):
        refused(control.get(f"/sandboxes/metrics?{query}"), 400, "sandbox_ids")


def test_logs_v1(control, daemon):
    id = control.create()
    daemon.exec_in(id, "true")
    got = control.get(f"/sandboxes/{id}/logs").json()
    assert len(got["logs"]) == len(got["logEntries"]) >= 2
    for raw, entry in zip(got["logs"], got["logEntries"]):
        line = json.loads(raw["line"])
        assert line["level"] == entry["level"] == "info" and line["message"] == entry["message"] and line["logger"]
        assert TIME.fullmatch(raw["timestamp"]) and isinstance(entry["fields"], dict)
    assert "running" in got["logs"][1]["line"] or "running" in got["logs"][0]["line"]
    assert len(control.get(f"/sandboxes/{id}/logs?limit=1").json()["logs"]) == 1
    assert control.get(f"/sandboxes/{id}/logs?start={int(time.time() * 1000) + 100000}").json() == {"logs": [], "logEntries": []}
    refused(control.get(f"/sandboxes/{id}/logs?limit=1001"), 400, "limit")
    refused(control.get(f"/sandboxes/{id}/logs?start=now"), 400, "start")


def test_logs_v2(control, daemon):
    id = control.create()
    daemon.exec_in(id, "true")
    path = f"/v2/sandboxes/{id}/logs"
    forward = control.get(path).json()["logs"]
    assert [e["timestamp"] for e in forward] == sorted(e["timestamp"] for e in forward) and len(forward) >= 2
    assert control.get(f"{path}?direction=backward").json()["logs"] == forward[::-1]
    assert control.get(f"{path}?direction=backward&limit=1").json()["logs"] == forward[-1:]
    assert control.get(f"{path}?search=running").json()["logs"] == [e for e in forward if "running" in e["message"]]
    assert control.get(f"{path}?level=error").json()["logs"] == []
    assert control.get(f"{path}?level=debug").json()["logs"] == forward
    later = int(time.time() * 1000) + 100000
    assert control.get(f"{path}?cursor={later}").json()["logs"] == []
    assert control.get(f"{path}?cursor={later}&direction=backward").json()["logs"] == forward[::-1]
    for query in ("direction=up", "level=loud", "limit=-1", "cursor=x"):
        refused(control.get(f"{path}?{query}"), 400)


def test_logs_do_not_tell_what_commands_print(control, daemon):
    id = control.create()
    daemon.exec_in(id, "echo planted-secret")
    assert "planted-secret" not in control.get(f"/sandboxes/{id}/logs").text


def test_templates(control):
    for path in ("/templates", "/templates?teamID=x", "/v2/templates"):
        reply = control.get(path)
        assert reply.status_code == 200 and not reply.headers.get("X-Next-Token")
        base = [t for t in reply.json() if t["templateID"] == "base"][0]
        assert base["names"] == base["aliases"] == ["base"] and base["buildStatus"] == "ready" and base["public"] is True
        assert base["createdBy"] is None and base["lastSpawnedAt"] is None and base["cpuCount"] >= 1 and base["envdVersion"]
    one = control.get("/templates/base").json()
    assert one["templateID"] == "base" and one["builds"][0]["status"] == "ready" and one["builds"][0]["buildID"] == one["buildID"]
    for key in ("buildCount", "buildID", "buildStatus", "cpuCount", "createdBy", "diskSizeMB", "envdVersion", "memoryMB"):
        assert key in one  # the newest Python client requires them
    assert refused(control.get("/templates/nobody"), 404)["message"] == "template 'nobody' not found"


def test_templates_in_pages(control):
    every = [t["templateID"] for t in control.get("/v2/templates").json()]
    got, query = [], "limit=1"
    for _ in every:
        reply = control.get(f"/v2/templates?{query}")
        got += [t["templateID"] for t in reply.json()]
        query = "limit=1&nextToken=" + reply.headers.get("X-Next-Token", "")
    assert got == every and query.endswith("=")
    for query in ("limit=0", "limit=101", "limit=x", "nextToken=nobody"):
        refused(control.get(f"/v2/templates?{query}"), 400)


def test_aliases(control):
    for name in ("base", "base:default", "BASE"):
        assert control.get(f"/templates/aliases/{name}").json() == {"templateID": "base", "public": True}
    refused(control.get("/templates/aliases/nobody"), 404)
    refused(control.get("/templates/aliases/a%20b"), 400)


def test_teams(control):
    team, = control.get("/teams").json()
    assert team["isDefault"] is True and team["teamID"] and team["name"] and team["apiKey"] == ""
    assert control.get("/teams", headers={"Authorization": "Bearer mine"}).json()[0]["apiKey"] == "mine"
    assert control.get("/teams", headers={"X-API-KEY": "e2b_1"}).json()[0]["apiKey"] == "e2b_1"


def test_health(control):
    assert control.get("/health").status_code == 204
