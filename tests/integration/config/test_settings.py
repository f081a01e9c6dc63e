"""Settings where they take effect: .env of every form (R1, R2, R3, report 17), ranks, profiles, the boot rule (R30)."""
import os
import socket
import subprocess

import pytest

from conftest import BUILD, clean_env, until

pytestmark = pytest.mark.root

DOTENV = "SANDBOX_RUNTIME=e2b\nE2B_API_KEY='planted-key-1'\nE2B_TEMPLATE_ID=mine\n"


def status(d):
    return d.get("/api/runtime/status").json()


@pytest.fixture
def with_dotenv(make_daemon):
    def make(content, *flags, env=None):
        d = make_daemon(*flags, env=env, start=False)
        (d.dir / ".env").write_bytes(content if isinstance(content, bytes) else content.encode())
        return d.start()
    return make


@pytest.mark.parametrize("content", [
    DOTENV, DOTENV.replace("\n", "\r\n"), "\ufeff" + DOTENV, "\ufeff" + DOTENV.replace("\n", "\r\n"), DOTENV.rstrip("\n"),
    "export SANDBOX_RUNTIME = e2b\nexport E2B_API_KEY = planted-key-1 # ours\nE2B_TEMPLATE_ID=\"mine\"\n",
    "# a comment\n\n" + DOTENV + "OTHER=\"\nmany\nlines\"\n",
])
def test_field_report_17_forms_of_the_documented_file(with_dotenv, content):
    d = with_dotenv(content)
    got = status(d)
    assert got["current_runtime"] == "e2b"
    assert (got["runtime_info"]["e2b_configured"], got["runtime_info"]["e2b_template"]) == (True, "mine")
    assert "planted-key" not in d.log()


def test_a_malformed_line_is_a_warning_with_its_number(with_dotenv):
    d = with_dotenv("SANDBOX_RUNTIME=local\nE2B_API_KEY='planted-open\nnonsense planted-x\n")
    assert f"{d.dir}/.env:2: " in d.log() and f"{d.dir}/.env:3: " in d.log() and "planted" not in d.log()
    assert status(d)["current_runtime"] == "local"


def test_somebody_elses_file_is_ignored_with_a_warning(make_daemon):
    d = make_daemon(start=False)
    file = d.dir / ".env"
    file.write_text(DOTENV)
    os.chown(file, 12345, 12345)
    d.start()
    assert "owned by neither the caller nor root" in d.log()
    assert status(d)["current_runtime"] == "local"


def test_environment_beats_the_file_and_a_flag_beats_both(with_dotenv):
    d = with_dotenv(DOTENV, env={"E2B_TEMPLATE_ID": "from-environment", "SANDBOX_RUNTIME": "daytona"})
    got = d.get("/api/runtime/validate/e2b").json()["configuration"]
    assert got["e2b_template"] == "from-environment" and status(d)["current_runtime"] == "daytona"
    d.stop()
    d.flags += ["--runtime", "local"]
    d.start()
    assert status(d)["current_runtime"] == "local"


@pytest.mark.parametrize("value,runtime,warned", [(" E2B ", "e2b", False), ("Local", "local", False), ("mars", "local", True), ("", "local", False)])
def test_r2_runtime_is_trimmed_and_folded_and_unknown_is_said(make_daemon, value, runtime, warned):
    d = make_daemon(env={"SANDBOX_RUNTIME": value})
    got = status(d)
    assert got["current_runtime"] == runtime
    if warned:
        assert "Invalid runtime 'mars', defaulting to 'local'" in (got["warning"] or "") + d.log()


def test_r3_each_runtime_alone_and_none(make_daemon):
    d = make_daemon(env={"DAYTONA_API_KEY": "k", "DAYTONA_SERVER_URL": "https://app.daytona.io/api", "DAYTONA_TARGET": "us"})
    got = status(d)
    assert got["current_runtime"] == "daytona" and got["runtime_info"]["daytona_configured"] is True
    assert got["runtime_info"]["daytona_server"] == "https://app.daytona.io/api"
    d = make_daemon(env={"E2B_API_KEY": "k", "E2B_TEMPLATE_ID": ""})
    assert status(d)["current_runtime"] == "daytona" and status(d)["runtimes"]["daytona"]["missing"]
    assert d.get("/api/runtime/validate/e2b").json()["configuration"]["e2b_template"] == "base"
    assert status(make_daemon())["current_runtime"] == "local"


def test_a_key_for_ourselves_does_not_count(make_daemon):
    with socket.socket() as reserved:  # nobody else listens there meanwhile
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        d = make_daemon("--listen", f"127.0.0.1:{port}", env={"E2B_API_KEY": "k", "E2B_API_URL": f"http://localhost:{port}"})
        assert d.port == port and status(d)["current_runtime"] == "local"


def test_defaults_of_sandboxes_are_settings(make_daemon):
    d = make_daemon("--memory-mib", "128", "--pids", "77", env={"SANDMUX_DISK_MIB": "99"})
    box = d.create()
    resources = box.get()["resources"]
    assert (resources["memory_mib"], resources["disk_mib"], resources["pids"]) == (128, 99, 77)
    box.delete()
    d.stop()


def test_lifetimes_are_settings(make_daemon):
    d = make_daemon("--max-lifetime", "60", "--default-lifetime", "30")
    from datetime import datetime
    for body in ({}, {"timeout_s": 0}, {"timeout_s": 100000}):
        reply = d.post("/api/sandboxes", json=body)
        if reply.status_code == 422:
            assert "60" in reply.json()["detail"]
            continue
        info = reply.json()
        life = (datetime.fromisoformat(info["expires_at"]) - datetime.fromisoformat(info["created_at"])).total_seconds()
        assert 20 < life <= 61, info
    d.delete_all()
    d.stop()


def test_config_show_gives_value_and_origin(tmp_path):
    (tmp_path / ".env").write_text("E2B_TEMPLATE_ID=mine\n")
    shown = subprocess.run([BUILD / "sandmux", "config", "show", "--origin"], capture_output=True, text=True, cwd=tmp_path,
                           env=clean_env(SANDMUX_DOMAIN="box.example"))
    rows = {line.split()[0]: line for line in shown.stdout.splitlines() if line.strip()}
    assert "mine" in rows["e2b-template"] and f"{tmp_path}/.env:1" in rows["e2b-template"]
    assert "box.example" in rows["domain"] and "environment" in rows["domain"] and "default" in rows["listen"]


def test_a_configured_domain_is_served(make_daemon):
    d = make_daemon("--domain", "Box.Example, other.example")
    assert d.get("/healthz", headers={"Host": "box.example"}).status_code == 200
    assert d.get("/healthz", headers={"Host": "x.other.example"}).status_code == 200
    assert d.get("/healthz", headers={"Host": "third.example"}).status_code == 403


def test_profiles_do_not_meet(tmp_path):
    """R49: state, socket and port of its own; nothing is created by asking."""
    places = {}
    for profile in ("dev", "prod"):
        shown = subprocess.run([BUILD / "sandmux", "config", "show", "--json"], capture_output=True, text=True, cwd=tmp_path,
                               env=clean_env(SANDMUX_PROFILE=profile))
        assert shown.returncode == 0, shown.stderr
        places[profile] = shown.stdout
    assert places["dev"] != places["prod"]


def test_an_automatic_daemon_takes_a_changed_file_over(make_daemon):
    d = make_daemon("--auto", "--listen", "none", start=False)
    file = d.dir / ".env"
    file.write_text("SANDBOX_RUNTIME=local\nE2B_TEMPLATE_ID=one\n")
    d.start()
    _, box = d.unix_request("POST", "/api/sandboxes", {"name": "kept"})
    template = lambda: d.unix_request("GET", "/api/runtime/validate/e2b")[1]["configuration"]["e2b_template"]
    assert template() == "one"
    file.write_text("SANDBOX_RUNTIME=local\nE2B_TEMPLATE_ID=two\nSANDMUX_MEMORY_MIB=99\n")
    until(lambda: template() == "two")
    assert d.unix_request("GET", "/api/sandboxes/kept")[1]["id"] == box["id"]  # what was there is there
    until(lambda: d.unix_request("POST", "/api/sandboxes", {"name": "small"})[1].get("resources", {}).get("memory_mib") == 99 or
          not d.unix_request("DELETE", "/api/sandboxes/small"))
    file.write_text("SANDMUX_PIDS=many\n")  # makes no sense: nothing changes
    until(lambda: "is not used" in d.log())
    assert template() == "two" and "error" not in d.log()
    for name in ("kept", "small"):
        d.unix_request("DELETE", f"/api/sandboxes/{name}")
    d.stop()


def test_a_daemon_started_by_hand_keeps_its_own_and_says_what_differs(with_dotenv):
    d = with_dotenv("E2B_TEMPLATE_ID=one\n")
    (d.dir / ".env").write_text("E2B_TEMPLATE_ID=two\nE2B_API_KEY=planted-99\n")
    until(lambda: "changed: E2B_API_KEY E2B_TEMPLATE_ID" in d.log() or "changed: E2B_TEMPLATE_ID E2B_API_KEY" in d.log())
    assert d.get("/api/runtime/validate/e2b").json()["configuration"]["e2b_template"] == "one" and "planted" not in d.log()
