"""Members of the group `sandmux` may use the system daemon's unix socket: the socket's mode lets them connect, the daemon looks up who they
are. The group and its members exist in a mount namespace of the daemon's own."""
import subprocess
import sys

import pytest

from conftest import PATIENCE_S, Daemon

pytestmark = pytest.mark.root
GROUP, PRIMARY, MEMBER, STRANGER, CLAIMS = 64300, 64301, 64302, 64303, 64304

CALL = """
import http.client, socket, sys
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sys.argv[1])
c = Unix("localhost", timeout=60)
try:
    c.request("GET", "/api/sandboxes")
    print(c.getresponse().status)
except PermissionError:
    print("not even connected")
"""


@pytest.fixture(scope="module")
def grouped():
    d = Daemon()
    passwd = "".join(f"u{uid}:x:{uid}:{gid}::/:/bin/sh\n" for uid, gid in
                     ((PRIMARY, GROUP), (MEMBER, MEMBER), (STRANGER, STRANGER), (CLAIMS, CLAIMS)))
    for name, more in (("passwd", passwd), ("group", f"sandmux:x:{GROUP}:u{MEMBER}\n")):
        lines = [line for line in open(f"/etc/{name}") if not line.startswith("sandmux:")]
        (d.dir / name).write_text("".join(lines) + more)
    script = f'mount --bind {d.dir}/passwd /etc/passwd && mount --bind {d.dir}/group /etc/group && exec "$@"'
    d.wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    d.start()
    yield d
    d.close()


def call(daemon, uid, gid, groups=()):
    out = subprocess.run([sys.executable, "-c", CALL, str(daemon.socket)], user=uid, group=gid, extra_groups=list(groups), capture_output=True,
                         text=True, timeout=PATIENCE_S, cwd="/")
    return out.stdout.strip() or out.stderr


def test_who_has_it_as_first_group_may(grouped):
    assert call(grouped, PRIMARY, GROUP) == "200"


def test_who_has_it_among_others_may(grouped):
    """The kernel names the caller's first group alone: the daemon asks the group database for the rest."""
    assert call(grouped, MEMBER, MEMBER, [GROUP]) == "200"


def test_a_stranger_does_not_connect(grouped):
    assert call(grouped, STRANGER, STRANGER) == "not even connected"


def test_who_only_claims_to_be_a_member_is_refused(grouped):
    assert call(grouped, CLAIMS, CLAIMS, [GROUP]) == "403"


def test_the_socket_is_for_the_group(grouped):
    st = grouped.socket.stat()
    assert (st.st_uid, st.st_gid, st.st_mode & 0o777) == (0, GROUP, 0o660)
