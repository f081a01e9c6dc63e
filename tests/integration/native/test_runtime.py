"""/api/runtime as documented (R4..R12, R28..R34), and the daemon's own endpoints."""
import re
import shutil
import subprocess

import pytest


@pytest.mark.root
def test_the_documented_curl_lines(daemon):
    """R12, as they are written, but for the port."""
    status = daemon.get("/api/runtime/status")
    assert status.status_code == 200 and list(status.json())[:4] == ["current_runtime", "available_runtimes", "runtime_configured", "runtime_info"]
    assert status.json()["available_runtimes"] == ["daytona", "e2b", "local"]
    reply = daemon.post("/api/runtime/switch", data='{"runtime": "local"}', headers={"Content-Type": "application/json"})
    assert reply.status_code == 200 and reply.json() == {
        "status": "success", "message": "Runtime switched to 'local'", "previous_runtime": "local", "current_runtime": "local"}
    reply = daemon.get("/api/runtime/validate/e2b")
    assert reply.status_code == 200 and (reply.json()["runtime"], reply.json()["is_configured"]) == ("e2b", False)
    assert reply.json()["configuration"]["e2b_template"] == "base"
    health = daemon.get("/api/runtime/health").json()
    assert (health["status"], health["runtime"], health["configured"], health["reachable"]) == ("healthy", "local", True, True)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", health["timestamp"])


@pytest.mark.root
@pytest.mark.parametrize("body,status,detail", [
    ('{"runtime":"nope"}', 400, "Invalid runtime 'nope'. Must be 'daytona', 'e2b' or 'local'"),
    ('{"runtime":"E2B"}', 400, "Invalid runtime 'E2B'. Must be 'daytona', 'e2b' or 'local'"),
    ('{"runtime":"e2b"}', 400, "Runtime 'e2b' is not properly configured"),
    ('{"runtime":"daytona"}', 400, "Runtime 'daytona' is not properly configured"),
])
def test_switches_that_are_refused(daemon, body, status, detail):
    reply = daemon.post("/api/runtime/switch", data=body)
    assert (reply.status_code, reply.json()["detail"]) == (status, detail)
    assert reply.json()["hint"]
    assert daemon.get("/api/runtime/status").json()["current_runtime"] == "local"


@pytest.mark.root
@pytest.mark.parametrize("body", ["{}", "", "[]", "nonsense", '{"runtime":5}', '{"runtime":null}', '{"runtime":"local","x":1}'])
def test_malformed_bodies_get_the_list_form(daemon, body):
    reply = daemon.post("/api/runtime/switch", data=body)
    assert reply.status_code == 422
    row = reply.json()["detail"][0]
    assert row["loc"][0] == "body" and row["msg"] and row["type"]
    assert row["loc"][1:] in ([], ["runtime"], ["x"], [0], [1])  # a field, or the byte where it stops being JSON


@pytest.mark.root
def test_the_list_form_names_the_query_and_the_path(daemon):
    reply = daemon.post("/api/runtime/switch?dry_run=maybe", data='{"runtime":"local"}')
    assert (reply.status_code, reply.json()["detail"][0]["loc"]) == (422, ["query", "dry_run"])
    for path in ("%00", "x" * 3000):
        reply = daemon.get(f"/api/runtime/validate/{path}")
        assert (reply.status_code, reply.json()["detail"][0]["loc"]) == (422, ["path"]), path


@pytest.mark.root
def test_shapes_of_other_refusals(daemon):
    assert daemon.get("/api/runtime/validate/nope").status_code == 400
    reply = daemon.post("/api/runtime/status")
    assert (reply.status_code, reply.json(), reply.headers["Allow"]) == (405, {"detail": "Method Not Allowed"}, "GET, HEAD")
    reply = daemon.get("/api/runtime/nothing")
    assert (reply.status_code, reply.json()) == (404, {"detail": "Not Found"})
    reply = daemon.post("/api/runtime/switch", data=b" " * (2 * 1024 * 1024))
    assert reply.status_code == 413


@pytest.mark.root
def test_health_of_a_runtime_by_name(daemon):
    e2b = daemon.get("/api/runtime/health?runtime=e2b")
    assert (e2b.status_code, e2b.json()["status"], e2b.json()["configured"]) == (200, "unhealthy", False)
    assert daemon.get("/api/runtime/health?runtime=e2b&strict=1").status_code == 503
    assert daemon.get("/api/runtime/health?runtime=mars").status_code == 400


@pytest.mark.root
def test_live_validation_and_capabilities(daemon):
    live = daemon.get("/api/runtime/validate/local?live=1").json()["live"]
    assert live["ok"] is True and live["error_code"] is None
    runtimes = daemon.get("/api/runtime/status").json()["runtimes"]
    assert runtimes["local"]["capabilities"]["pause_resume"] is True and runtimes["local"]["capabilities"]["internet"] is False
    assert runtimes["e2b"]["missing"] == ["E2B_API_KEY"]
    e2b = runtimes["e2b"]["capabilities"]  # what it could do is known before there is a key
    assert (e2b["pause_resume"], e2b["persistent"], e2b["sessions"]) == (True, False, True)
    live = daemon.get("/api/runtime/validate/e2b?live=1").json()["live"]
    assert (live["ok"], live["error_code"]) == (False, "runtime_not_configured") and live["hint"]
    assert runtimes["daytona"]["missing"] == ["DAYTONA_API_KEY", "DAYTONA_SERVER_URL", "DAYTONA_TARGET"]


@pytest.mark.root
def test_create_on_a_runtime_that_is_not_configured(daemon):
    reply = daemon.post("/api/sandboxes", json={"runtime": "daytona"})
    assert (reply.status_code, reply.json()["code"]) == (400, "runtime_not_configured")
    assert "DAYTONA_API_KEY" in reply.json()["detail"]


@pytest.mark.root
def test_alive_ready_version(daemon):
    assert daemon.get("/healthz").text == "ok\n"
    assert daemon.get("/readyz").status_code == 200
    verbose = daemon.get("/readyz?verbose").json()
    assert verbose["ready"] is True and all(check["ok"] for check in verbose["checks"]) and len(verbose["checks"]) >= 2
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", daemon.get("/version").json()["version"])


@pytest.mark.root
@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_metrics_are_clean(daemon):
    daemon.create().delete()
    text = daemon.get("/metrics")
    assert text.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text.text, capture_output=True, text=True)
    assert checked.returncode == 0 and not checked.stderr.strip(), checked.stderr
    assert 'sandmux_http_requests_total{frontend="native",status="201"}' in text.text


@pytest.mark.root
def test_templates(daemon):
    items = daemon.get("/api/templates").json()["items"]
    assert "base" in [t["name"] for t in items]


@pytest.mark.root
@pytest.mark.parametrize("flags,env", [(["-v"], {}), ([], {"LOG_LEVEL": "debug"}), (["--log-level", "debug"], {})])
def test_r20_the_server_shows_every_operation_when_asked(make_daemon, flags, env):
    d = make_daemon(*flags, env=env)
    box = d.create(env={"TOKEN": "s3cr3t-value"})
    for verb in ("pause", "resume"):
        d.post(f"{box.path}/{verb}")
    box.delete()
    for op in ("create", "pause", "resume", "delete"):
        assert re.search(rf" debug sandmux-gateway: op={op} sandbox={box.id} runtime=local result=ok ms=\d+\n", d.log()), d.log()
    assert "s3cr3t" not in d.log()


@pytest.mark.root
def test_r20_the_server_is_silent_about_them_by_default(make_daemon):
    d = make_daemon()
    d.create().delete()
    assert " debug " not in d.log()
