"""HTTPS at the daemon's own listener: settings and what is wrong with them, certificates of `sandmux tls init`, renewal while connections
last, and our own clients over https."""
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys

import pytest
import requests

from conftest import BUILD, PATIENCE_S, SANITIZED, Daemon, until
from domain import untouched_env

SANDMUX = BUILD / "sandmux"
NAME = "sandmux.test"


def open_to_all(folder):
    """Another uid gets there: pytest's folders are for one alone."""
    for parent in [folder, *list(folder.parents)[:2]]:
        parent.chmod(0o755)


def openssl(*argv, **more):
    return subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True, text=True, timeout=PATIENCE_S, **more).stdout


def sandmux(*argv, env=None, **more):
    more.setdefault("timeout", PATIENCE_S)
    return subprocess.run([SANDMUX, *map(str, argv)], capture_output=True, text=True, env=untouched_env(**(env or {})), **more)


def init(folder, *flags):
    out = sandmux("tls", "init", "--dir", folder, "--domain", NAME, *flags)
    assert out.returncode == 0, out.stderr
    return pathlib.Path(folder)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return init(tmp_path_factory.mktemp("pki") / "tls")


def tls_flags(folder, listen="127.0.0.1:0"):
    return ["--tls-listen", listen, "--tls-cert", f"{folder}/cert.pem", "--tls-key", f"{folder}/key.pem", "--domain", NAME]


def tls_port(daemon):
    return daemon.unix_request("GET", "/version")[1]["tls_port"]


def context(folder):
    return ssl.create_default_context(cafile=str(folder / "ca.pem"))


def connect(daemon, folder, name=f"api.{NAME}", trust=None):
    raw = socket.create_connection(("127.0.0.1", tls_port(daemon)), timeout=PATIENCE_S)
    return context(trust or folder).wrap_socket(raw, server_hostname=name)


def ask(connection, path="/version"):
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: api.{NAME}\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        got = connection.recv(65536)
        assert got, answer
        answer += got
    return answer


def serial(daemon, folder):
    with connect(daemon, folder) as c:
        return c.getpeercert()["serialNumber"]


@pytest.fixture(scope="module")
def https(pki):
    with Daemon(tls_flags(pki)) as d:
        yield d


# --- tls init


def test_init_makes_files_that_a_strict_verifier_takes(pki):
    modes = {p.name: oct(p.stat().st_mode & 0o777) for p in pki.iterdir()}
    assert modes.pop("bundle.pem", "0o644") == "0o644"
    assert modes == {"ca.pem": "0o644", "ca-key.pem": "0o600", "cert.pem": "0o644", "key.pem": "0o600"}
    for host in (f"api.{NAME}", f"3000-i0.{NAME}", NAME, "localhost"):
        openssl("verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", host, "-CAfile", pki / "ca.pem", pki / "cert.pem")
    for address in ("127.0.0.1", "::1"):
        openssl("verify", "-verify_ip", address, "-CAfile", pki / "ca.pem", pki / "cert.pem")
    with pytest.raises(subprocess.CalledProcessError):
        openssl("verify", "-verify_hostname", "example.com", "-CAfile", pki / "ca.pem", pki / "cert.pem")
    assert "P-256" in openssl("x509", "-in", pki / "cert.pem", "-noout", "-text")


def test_init_again_renews_the_certificate_and_keeps_the_authority(tmp_path):
    folder = init(tmp_path / "a" / "b")
    before = {p.name: p.read_text() for p in folder.iterdir()}
    said = json.loads(sandmux("--json", "tls", "init", "--dir", folder, "--domain", NAME).stdout)
    assert said["new_authority"] is False and said["domain"] == NAME and f"*.{NAME}" in said["names"]
    assert (folder / "ca.pem").read_text() == before["ca.pem"] and (folder / "ca-key.pem").read_text() == before["ca-key.pem"]
    assert (folder / "cert.pem").read_text() != before["cert.pem"] and (folder / "key.pem").read_text() != before["key.pem"]
    openssl("verify", "-CAfile", folder / "ca.pem", folder / "cert.pem")
    init(folder, "--force")
    assert (folder / "ca.pem").read_text() != before["ca.pem"]


@pytest.mark.parametrize("broken, says", [
    (lambda f: (f / "ca-key.pem").unlink(), "ca-key.pem is missing"),
    (lambda f: (f / "ca-key.pem").write_text("x"), "damaged or do not belong together"),
    (lambda f: (f / "cert.pem").write_text("x"), "was not made by the authority"),
])
def test_init_overwrites_nothing_that_it_did_not_make(tmp_path, broken, says):
    folder = init(tmp_path / "tls")
    broken(folder)
    before = {p.name: p.read_text() for p in folder.iterdir()}
    out = sandmux("tls", "init", "--dir", folder, "--domain", NAME)
    assert out.returncode != 0 and says in out.stderr
    assert {p.name: p.read_text() for p in folder.iterdir()} == before
    assert sandmux("tls", "init", "--dir", folder, "--force").returncode == 0


@pytest.mark.parametrize("domain", ["a b/c", "x,DNS:evil", "", "x..y", ".x", "x.", "-x.y", "x." + "a" * 64, "a" * 300, ",".join(f"d{i}.test" for i in range(20))])
def test_init_refuses_what_is_no_domain(tmp_path, domain):
    out = sandmux("tls", "init", "--dir", tmp_path / "tls", "--domain", domain)
    assert out.returncode in (1, 2) and out.stderr.startswith("sandmux: ")
    assert not (tmp_path / "tls" / "cert.pem").exists()


# --- settings


WRONG = {
    "no certificate file": (lambda f: (f / "cert.pem").unlink(), "No such file or directory"),
    "no key file": (lambda f: (f / "key.pem").unlink(), "No such file or directory"),
    "a directory": (lambda f: ((f / "cert.pem").unlink(), (f / "cert.pem").mkdir()), "is not a file"),
    "no PEM": (lambda f: (f / "cert.pem").write_text("hello"), "holds no certificate in PEM form"),
    "key without PEM": (lambda f: (f / "key.pem").write_text("hello"), "holds no private key in PEM form"),
    "another key": (lambda f: shutil.copy(f / "ca-key.pem", f / "key.pem"), "does not belong to the certificate"),
    "an encrypted key": (lambda f: (f / "key.pem").write_text(openssl("pkey", "-in", f / "ca-key.pem", "-aes128", "-passout", "pass:word")),
                         "is encrypted"),
    "too large": (lambda f: (f / "cert.pem").write_bytes(b"x" * 300000), "has more than"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_ends_the_start_with_one_sentence(tmp_path, make_daemon, what):
    folder = init(tmp_path / "tls")
    breaks, says = WRONG[what]
    breaks(folder)
    d = make_daemon(*tls_flags(folder), start=False)
    assert d.spawn().wait(PATIENCE_S) in (1, 78)
    d.process = None
    lines = [line for line in d.log().splitlines() if says in line]
    assert len(lines) == 1 and str(folder) in lines[0], d.log()


@pytest.mark.parametrize("flags, says", [
    (["--tls-cert", "/x"], "--tls-cert needs --tls-key"),
    (["--tls-key", "/x"], "--tls-key needs --tls-cert"),
    (["--tls-listen", "127.0.0.1:1"], "sandmux tls init"),
])
def test_half_a_setting_says_what_is_missing(make_daemon, flags, says):
    d = make_daemon(*flags, start=False)
    assert d.spawn().wait(PATIENCE_S) == 1
    d.process = None
    assert says in d.log()


@pytest.mark.root
def test_an_unreadable_key_is_named(tmp_path, make_daemon, pki):
    folder = tmp_path / "tls"
    shutil.copytree(pki, folder)
    open_to_all(tmp_path)
    d = make_daemon(*tls_flags(folder), start=False, user=65533)
    assert d.spawn().wait(PATIENCE_S) == 1
    d.process = None
    assert "key.pem: Permission denied" in d.log()


def test_a_certificate_that_has_expired_is_served_with_a_warning(tmp_path, make_daemon):
    folder = tmp_path / "tls"
    folder.mkdir()
    (folder / "index").write_text("")
    (folder / "ca.cnf").write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=%s/index\nnew_certs_dir=%s\nserial=%s/serial\npolicy=p\ndefault_md=sha256\n"
                                   "[p]\ncommonName=supplied\n" % (folder, folder, folder))
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "key.pem", "-out", folder / "csr.pem",
            "-subj", f"/CN={NAME}")
    openssl("ca", "-batch", "-config", folder / "ca.cnf", "-selfsign", "-create_serial", "-keyfile", folder / "key.pem", "-in", folder / "csr.pem",
            "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-notext", "-out", folder / "cert.pem")
    d = make_daemon(*tls_flags(folder))
    assert "expired on 2020-02-01" in d.log()
    out = sandmux("ps", env={"SANDMUX_URL": f"https://127.0.0.1:{tls_port(d)}", "SANDMUX_CA": str(folder / "cert.pem")})
    assert out.returncode == 7 and "expired" in out.stderr or "another name" in out.stderr


def test_beyond_loopback_https_wants_keys_and_plain_http_warns(make_daemon, pki):
    d = make_daemon(*tls_flags(pki, "0.0.0.0:0"), start=False)
    assert d.spawn().wait(PATIENCE_S) == 1
    d.process = None
    assert "is not a loopback address" in d.log()
    d = make_daemon(*tls_flags(pki, "0.0.0.0:0"), "--require-keys")
    assert "plain HTTP beyond loopback" not in d.log()
    d = make_daemon("--listen", "0.0.0.0:0", "--require-keys")
    assert "plain HTTP beyond loopback" in d.log()


def test_without_plain_http_the_address_is_https(make_daemon, pki):
    d = make_daemon("--listen", "none", *tls_flags(pki))
    assert d.url == f"https://127.0.0.1:{tls_port(d)}"
    assert requests.get(f"{d.url}/version", verify=str(pki / "ca.pem"), timeout=PATIENCE_S).status_code == 200


def test_config_and_doctor_know_it(pki):
    env = {"SANDMUX_TLS_CERT": str(pki / "cert.pem"), "SANDMUX_TLS_KEY": str(pki / "key.pem")}
    shown = json.loads(sandmux("config", "show", "--json", env=env).stdout)
    assert shown["tls-listen"]["value"] == "127.0.0.1:8443" and shown["tls-cert"]["value"] == str(pki / "cert.pem")

    def check(env):
        checks = json.loads(sandmux("doctor", "--json", env=env).stdout)["checks"]
        return next(c for c in checks if c["name"] == "tls")
    assert check(env)["status"] == "ok" and check({})["status"] == "ok"
    assert check({**env, "SANDMUX_TLS_KEY": "/nowhere/key.pem"})["status"] == "problem"
    assert check({"SANDMUX_TLS_CERT": "/x"})["status"] == "problem"


# --- the listener


def test_https_answers_and_plain_http_on_its_port_gets_a_400(https, pki):
    with connect(https, pki) as c:
        assert c.version() == "TLSv1.3" and c.selected_alpn_protocol() is None
        for _ in range(3):
            assert ask(c).startswith(b"HTTP/1.1 200 ")
    with socket.create_connection(("127.0.0.1", tls_port(https)), timeout=PATIENCE_S) as c:
        c.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while got := c.recv(65536):
            answer += got
    assert answer.startswith(b"HTTP/1.1 400 ") and b"speaks HTTPS" in answer


def test_hostile_clients_leave_no_connection_behind(https, pki):
    before = https.open_descriptors("sandmux-gateway")
    held = []
    for data in (b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00" * 100, os.urandom(3000), b"\x16\x03\x01\xff\xff"):
        for _ in range(5):
            c = socket.create_connection(("127.0.0.1", tls_port(https)), timeout=PATIENCE_S)
            c.sendall(data)
            held.append(c)
    with connect(https, pki) as c:
        assert ask(c).startswith(b"HTTP/1.1 200 ")
    until(lambda: https.open_descriptors("sandmux-gateway") <= before + 1, why="handshakes are held")
    for c in held:
        c.close()


def test_old_protocols_are_refused(https, pki):
    for flag in ("-tls1", "-tls1_1"):
        out = subprocess.run(["openssl", "s_client", flag, "-cipher", "ALL:@SECLEVEL=0", "-connect", f"127.0.0.1:{tls_port(https)}"],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S)
        assert out.returncode != 0 and "Cipher is (NONE)" in out.stdout


# --- renewal


@pytest.fixture
def renewable(tmp_path, make_daemon):
    folder = init(tmp_path / "tls")
    return make_daemon(*tls_flags(folder)), folder


def test_a_renewed_certificate_is_served_and_connections_go_on(renewable):
    d, folder = renewable
    old = serial(d, folder)
    with connect(d, folder) as c:
        assert ask(c).startswith(b"HTTP/1.1 200 ")
        init(folder)
        until(lambda: serial(d, folder) != old, why="the old certificate is served")
        assert ask(c).startswith(b"HTTP/1.1 200 ")


def test_a_broken_renewal_changes_nothing_and_survives_the_gateway(renewable):
    d, folder = renewable
    old = serial(d, folder)
    good = (folder / "key.pem").read_text()
    (folder / "key.pem").write_text("half a fi")
    until(lambda: "served on" in d.log(), why="nothing was said")
    assert serial(d, folder) == old
    os.kill(d.pid_of("sandmux-gateway"), signal.SIGKILL)
    until(lambda: serial(d, folder) == old, why="the next gateway does not serve the old certificate")
    (folder / "key.pem").unlink()
    until(lambda: "No such file" in d.log(), why="nothing was said")
    assert serial(d, folder) == old
    (folder / "key.pem").write_text(good)
    init(folder)
    until(lambda: serial(d, folder) != old, why="the renewed certificate is not served")


def test_a_link_that_is_moved_is_a_renewal(tmp_path, make_daemon):
    """As certbot and Kubernetes do it."""
    first, second, live = init(tmp_path / "1"), init(tmp_path / "2"), tmp_path / "live"
    live.symlink_to(first)
    d = make_daemon(*tls_flags(live))
    old = serial(d, first)
    (tmp_path / "next").symlink_to(second)
    os.rename(tmp_path / "next", live)
    d.process.send_signal(signal.SIGHUP)  # its directory is not one of the files'
    until(lambda: serial(d, second) != old)


# --- our own clients over https


@pytest.fixture(scope="module")
def over(https, pki):
    return {"SANDMUX_URL": f"https://localhost:{tls_port(https)}", "SANDMUX_CA": str(pki / "ca.pem"), "SANDMUX_STATE_DIR": str(https.state)}


@pytest.mark.root
def test_the_command_line_works_over_https(https, over, tmp_path):
    box = sandmux("create", env=over).stdout.strip()
    assert sandmux("exec", box, "--", "echo", "hello", env=over).stdout == "hello\n"
    assert sandmux("exec", "-i", box, "--", "cat", env=over, input="x" * 300000).stdout == "x" * 300000
    assert sandmux("exec", box, "-c", "exit 7", env=over).returncode == 7
    data = os.urandom(5 * 1024 * 1024)
    (tmp_path / "data").write_bytes(data)
    assert sandmux("cp", tmp_path / "data", f"{box}:data", env=over).returncode == 0
    assert sandmux("cp", f"{box}:data", tmp_path / "back", env=over).returncode == 0
    assert (tmp_path / "back").read_bytes() == data
    out = sandmux("exec", box, "-c", "head -c 3000000 /dev/zero | tr '\\0' a", env=over)
    assert out.stdout == "a" * 3000000
    assert sandmux("rm", box, env=over).returncode == 0


def test_ssl_cert_file_is_trusted_too(https, over, pki):
    env = {k: v for k, v in over.items() if k != "SANDMUX_CA"}
    assert sandmux("ps", env={**env, "SSL_CERT_FILE": str(pki / "ca.pem")}).returncode == 0


def test_what_is_wrong_with_https_is_said(https, over, tmp_path, pki):
    other = init(tmp_path / "other")

    def fails(env, says, status=7):
        out = sandmux("ps", env=env)
        assert out.returncode == status and says in out.stderr, out.stderr
    fails({k: v for k, v in over.items() if k != "SANDMUX_CA"}, "not trusted here; name the authority's file in SANDMUX_CA")
    fails({**over, "SANDMUX_CA": str(other / "ca.pem")}, "not trusted here")
    fails({**over, "SANDMUX_CA": str(tmp_path / "none.pem")}, "No such file", 3)
    (tmp_path / "text").write_text("hello")
    fails({**over, "SANDMUX_CA": str(tmp_path / "text")}, "holds no certificate", 1)
    fails({**over, "SANDMUX_URL": f"https://127.0.0.1:{https.port}"}, "does not speak TLS")
    fails({**over, "SANDMUX_URL": "https://"}, "the URL must be", 1)
    if os.geteuid() == 0:
        out = subprocess.run(["unshare", "--mount", "sh", "-c", f"echo 127.0.0.1 other.example >{tmp_path}/hosts && "
                              f"mount --bind {tmp_path}/hosts /etc/hosts && exec {SANDMUX} --url https://other.example:{tls_port(https)} ps"],
                             capture_output=True, text=True, env=untouched_env(**over), timeout=PATIENCE_S)
        assert out.returncode == 7 and "the certificate of other.example is for another name" in out.stderr


@pytest.mark.root
def test_without_openssl_https_says_so_and_http_works(https, over):
    library = next(p for p in ("/usr/lib/x86_64-linux-gnu/libssl.so.3", "/usr/lib/aarch64-linux-gnu/libssl.so.3") if os.path.exists(p))

    def run(url):
        return subprocess.run(["unshare", "--mount", "sh", "-c", f"mount --bind /dev/null {library} && exec {SANDMUX} ps --url {url}"],
                              capture_output=True, text=True, env=untouched_env(), timeout=PATIENCE_S)
    out = run(over["SANDMUX_URL"])
    assert out.returncode == 1 and "libssl.so.3" in out.stderr
    assert run(https.url).returncode == 0


def test_a_listener_that_is_silent_does_not_hang_the_client():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        out = sandmux("ps", env={"SANDMUX_URL": f"https://127.0.0.1:{s.getsockname()[1]}"})
    assert out.returncode == 7 and "did not answer in time" in out.stderr, out.stderr


# --- sandmux env


def evaluated(script, env):
    out = subprocess.run(["sh", "-c", f'set -eu; eval "$({script})"; env'], capture_output=True, text=True, env=untouched_env(**env),
                         timeout=PATIENCE_S)
    assert out.returncode == 0, out.stderr
    return dict(line.split("=", 1) for line in out.stdout.splitlines() if "=" in line)


def test_env_points_e2b_at_a_plain_daemon(daemon):
    got = evaluated(f"{SANDMUX} env --sdk e2b", {"SANDMUX_STATE_DIR": str(daemon.state)})
    assert got["E2B_API_URL"] == got["E2B_SANDBOX_URL"] == daemon.url and got["E2B_DOMAIN"] == f"localhost:{daemon.port}"
    assert len(got["E2B_API_KEY"]) == 44 and got["E2B_API_KEY"].startswith("e2b_")
    reply = requests.get(got["E2B_API_URL"] + "/v2/sandboxes", headers={"X-API-KEY": got["E2B_API_KEY"]}, timeout=PATIENCE_S)
    assert reply.status_code == 200


def test_env_by_domain_takes_urls_away_and_names_the_authority(https, pki):
    got = evaluated(f"{SANDMUX} env --sdk e2b --tls", {"SANDMUX_STATE_DIR": str(https.state), "E2B_API_URL": "http://old", "E2B_SANDBOX_URL": "x"})
    assert got["E2B_DOMAIN"] == f"{NAME}:{tls_port(https)}" and "E2B_API_URL" not in got and "E2B_SANDBOX_URL" not in got
    assert got["NODE_EXTRA_CA_CERTS"] == str(pki / "ca.pem")
    assert (pki / "ca.pem").read_text() in pathlib.Path(got["SSL_CERT_FILE"]).read_text()
    got = evaluated(f"{SANDMUX} env --sdk e2b --no-tls", {"SANDMUX_STATE_DIR": str(https.state)})
    assert got["E2B_API_URL"] == https.url and "NODE_EXTRA_CA_CERTS" not in got


def test_env_makes_a_key_where_one_is_required(make_daemon):
    d = make_daemon("--require-keys")
    env = {"SANDMUX_STATE_DIR": str(d.state)}
    got = json.loads(sandmux("env", "--sdk", "e2b", "--json", env=env).stdout)
    reply = requests.get(d.url + "/v2/sandboxes", headers={"X-API-KEY": got["E2B_API_KEY"]}, timeout=PATIENCE_S)
    assert reply.status_code == 200
    assert requests.get(d.url + "/v2/sandboxes", headers={"X-API-KEY": "e2b_" + "0" * 40}, timeout=PATIENCE_S).status_code == 401
    again = json.loads(sandmux("env", "--sdk", "e2b", "--json", env={**env, "SANDMUX_API_KEY": got["E2B_API_KEY"]}).stdout)
    assert again["E2B_API_KEY"] == got["E2B_API_KEY"]


def test_env_speaks_every_shell(https):
    env = {"SANDMUX_STATE_DIR": str(https.state)}

    def lines(shell, *flags):
        return sandmux("env", "--sdk", "e2b", "--shell", shell, *flags, env=env).stdout.splitlines()
    assert f"set -gx E2B_API_URL '{https.url}'" in lines("fish")
    assert f"$Env:E2B_API_URL = '{https.url}'" in lines("powershell")
    assert f"E2B_API_URL='{https.url}'" in lines("dotenv")
    assert "set -e E2B_API_URL" in lines("fish", "--tls")
    assert sandmux("env", "--shell", "csh", env=env).returncode == 2
    assert sandmux("env", "--sdk", "other", env=env).returncode == 2
    assert sandmux("env", env=env).stdout == f"export SANDMUX_URL='unix:{https.socket}'\n"


def test_env_of_a_daemon_that_a_client_started_gives_it_a_port(tmp_path):
    open_to_all(tmp_path)
    env = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "SANDMUX_STATE_DIR": str(tmp_path / "s"),
           "SANDMUX_AUTO_IDLE_S": "30"}
    out = sandmux("env", "--sdk", "e2b", "--json", env=env, cwd=tmp_path)
    try:
        assert out.returncode == 0, out.stderr
        url = json.loads(out.stdout)["E2B_API_URL"]
        assert requests.get(url + "/version", timeout=PATIENCE_S).json()["automatic"] is True
        assert "ends by itself" in out.stderr
    finally:
        assert sandmux("shutdown", env=env, cwd=tmp_path).returncode == 0


def unused_port():
    """One that no outgoing connection and no port 0 gets before the daemon takes it."""
    for port in random.sample(range(20000, 30000), 100):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise AssertionError("no unused port")


def test_its_own_variables_do_not_count_as_e2b(make_daemon):
    port = unused_port()
    env = {"E2B_API_URL": f"http://127.0.0.1:{port}", "E2B_SANDBOX_URL": f"http://127.0.0.1:{port}", "E2B_DOMAIN": f"localhost:{port}",
           "E2B_API_KEY": "e2b_" + "0" * 40}
    d = make_daemon("--listen", f"127.0.0.1:{port}", env=env)
    assert d.get("/api/runtime/status").json()["current_runtime"] == "local"
    d = make_daemon(env={**env, "E2B_API_URL": "https://api.e2b.example"})
    assert d.get("/api/runtime/status").json()["current_runtime"] == "daytona"


def test_global_options_may_stand_before_the_command(daemon):
    assert sandmux("--url", daemon.url, "--json", "ps").returncode == 0
    assert sandmux(f"--url={daemon.url}", "ps").returncode == 0
    out = sandmux("--no-such", "ps")
    assert out.returncode == 2 and "a command comes first" in out.stderr


# --- libsandmux over https


@pytest.mark.root
@pytest.mark.parametrize("name", ["sandbox", "process", "files", "session", "archive", "keys"])
def test_the_examples_run_over_https(over, name):
    program = BUILD / "examples" / f"example-{name}"
    if not program.exists():
        pytest.skip("the examples are not built")
    out = subprocess.run([program], env=untouched_env(**over), capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr


HANDLE = """
import ctypes, os, sys, threading
lib = ctypes.CDLL(sys.argv[1])
lib.smx_request.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p]
lib.smx_reply_free.argtypes = [ctypes.c_void_p]
lib.smx_client_close.argtypes = [ctypes.c_void_p]
client = ctypes.c_void_p()
assert lib.smx_client_open(None, ctypes.byref(client), None) == 0
def ask(n):
    for _ in range(n):
        reply = ctypes.c_void_p()
        r = lib.smx_request(client, b"GET", b"/version", None, ctypes.byref(reply), None)
        if r != 0:
            failed.append(r)
        else:
            lib.smx_reply_free(reply)
failed = []
ask(1)
child = os.fork()  # the parent's connection is kept: the child may not speak on it
if child == 0:
    ask(5)
    os._exit(len(failed))
threads = [threading.Thread(target=ask, args=(20,)) for _ in range(12)]
[t.start() for t in threads]; [t.join() for t in threads]
_, status = os.waitpid(child, 0)
ask(3)
lib.smx_client_close(client)
print(len(failed), status)
"""


def test_one_handle_many_threads_and_a_child_over_https(over):
    if SANITIZED:
        pytest.skip("the interpreter is not built with the sanitizer")
    library = BUILD / "libsandmux.so.0"
    if not library.exists():
        pytest.skip("the library is not built")
    out = subprocess.run([sys.executable, "-c", HANDLE, library], env=untouched_env(**over), capture_output=True, text=True, timeout=PATIENCE_S)
    assert out.stdout == "0 0\n", out.stderr


def test_a_program_without_https_loads_no_openssl(https, over):
    """It starts in a millisecond because of that."""
    traced = "import ctypes, sys; lib = ctypes.CDLL(sys.argv[1]); c = ctypes.c_void_p(); " \
             "print(lib.smx_client_open(None, ctypes.byref(c), None), 'libssl' in open('/proc/self/maps').read())"
    library = BUILD / "libsandmux.so.0"
    if SANITIZED or not library.exists():
        pytest.skip("needs the plain library")
    for url, loaded in ((https.url, "False"), (over["SANDMUX_URL"], "True")):
        out = subprocess.run([sys.executable, "-c", traced, library], env=untouched_env(**{**over, "SANDMUX_URL": url}), capture_output=True,
                             text=True, timeout=PATIENCE_S)
        assert out.stdout == f"0 {loaded}\n", out.stderr
