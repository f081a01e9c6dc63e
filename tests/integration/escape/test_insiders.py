"""Code of one user of a sandbox against what another one's calls leave in it: sessions, file calls, waiting shells."""
import pytest

from conftest import until

pytestmark = pytest.mark.root


def session(box, sid, **more):
    return box.daemon.post(f"{box.path}/sessions", json={"id": sid, **more})


def run(box, sid, command):
    reply = box.daemon.post(f"{box.path}/sessions/{sid}/exec", json={"command": command}, timeout=120)
    assert reply.status_code == 200, reply.text
    return reply.json()


# Puts another session's directory in the place of the one of root.
HIJACK = """
cd /tmp && mv .sandmux own && mkdir -m 777 .sandmux .sandmux/r || exit 9
printf 'touch /root/taken\\n' | tee .sandmux/r/a > .sandmux/r/b
echo a > .sandmux/r/slot
"""


def test_the_directory_of_sessions_is_not_a_strangers(sandbox):
    """Whoever made /tmp/.sandmux first could rename it, and root's next command read his variables and functions."""
    sandbox.exec("mkdir -m 777 /tmp/.sandmux", user="user")
    assert session(sandbox, "r").status_code == 201
    assert sandbox.exec("stat -c '%U %a' /tmp/.sandmux")["stdout"] == "root 1777\n"
    assert sandbox.exec(HIJACK, user="user")["exit_code"] != 0
    assert run(sandbox, "r", "ls /root/taken")["exit_code"] != 0
    assert session(sandbox, "mine", user="user").status_code == 201
    assert run(sandbox, "mine", "id -un")["stdout"] == "user\n"


@pytest.mark.parametrize("plant", ["ln -s /etc /tmp/.sandmux", "touch /tmp/.sandmux", "ln -s /nowhere /tmp/.sandmux"])
def test_what_is_no_directory_gives_way(sandbox, plant):
    mode = sandbox.exec("stat -c '%U %a' /etc")["stdout"]
    sandbox.exec(plant, user="user")
    assert session(sandbox, "r").status_code == 201
    assert run(sandbox, "r", "id -un")["stdout"] == "root\n"
    assert sandbox.exec("stat -c '%U %a' /etc")["stdout"] == mode


def test_a_user_does_not_use_another_users_directory(sandbox):
    sandbox.exec("mkdir -m 1777 /tmp/.sandmux && chown 1234 /tmp/.sandmux")
    assert session(sandbox, "mine", user="user").status_code == 500
    assert session(sandbox, "r").status_code == 201  # root takes it over, for all
    assert session(sandbox, "mine", user="user").status_code == 201


def test_a_session_that_is_swapped_while_root_looks_is_not_taken(sandbox):
    """A link to a directory of root and a directory of the own, in turn."""
    sandbox.exec("mkdir -p -m 1777 /tmp/.sandmux")
    sandbox.write_file("/tmp/flip.py", b"""
import os, time
os.makedirs("/tmp/own", exist_ok=True)
for name, text in (("a", "touch /root/taken\\n"), ("b", "touch /root/taken\\n"), ("slot", "a\\n")):
    open("/tmp/own/" + name, "w").write(text)
os.chdir("/tmp/.sandmux")
end = time.time() + 20
while time.time() < end and not os.path.exists("/tmp/stop"):
    try:
        os.symlink("/root", "s"); os.unlink("s"); os.rename("/tmp/own", "s"); os.rename("s", "/tmp/own")
    except OSError:
        pass
""")
    sandbox.exec("python3 /tmp/flip.py > /dev/null 2>&1 & sleep 0.2", user="user")
    for _ in range(15):
        if session(sandbox, "s").status_code in (200, 201):
            run(sandbox, "s", "true")
            break
    sandbox.exec("touch /tmp/stop")
    assert sandbox.exec("ls /root/taken")["exit_code"] != 0


# --- a shell that waits, and what it runs -----------------------------------------------------------

HOSTILE_STATE = {
    "functions named like what ours calls": "printf() { :; }; trap() { :; }; shopt() { :; }; declare() { :; }; echo() { :; }; mapfile() { :; };"
                                            "read() { :; }; eval() { :; }; builtin() { :; }; exit() { :; }; export -f printf trap echo",
    "aliases": "alias printf=false trap=false exit=true eval=false set=false unset=false builtin=false read=false",
    "traps": "trap 'echo trapped' EXIT; trap '' TERM HUP INT; trap : DEBUG; trap : ERR; trap : RETURN; set -T -E",
    "variables of the shell": "BASH_ENV=/tmp/env; ENV=/tmp/env; PROMPT_COMMAND='exit 3'; PS0='$(exit 3)'; IFS=0123456789abcdef; GLOBIGNORE='*';"
                              "POSIXLY_CORRECT=1; LC_ALL=C.UTF-8; FIGNORE=a; CDPATH=/; HISTFILE=/tmp/h; TMOUT=1; BASH_XTRACEFD=1; export BASH_ENV",
    "options": "set -o posix -o noglob -o noclobber -o nounset -o errexit -o keyword; shopt -s nullglob failglob extdebug lastpipe 2>/dev/null; true",
    "readonly ours": "readonly __smx_rc=1 __smx_opts=x __smx_at=y __smx_save=: __smx_slot=zz __smx_keep= __smx_end=abc",
    "unset ours": "unset __smx_rc __smx_end __smx_keep __smx_dir __smx_slot __smx_save __smx_trap __smx_old",
    "closed": "exec 0<&- 1>&- 2>&- 3>&-",
    "exec": "exec sleep 0",
    "limits": "ulimit -n 4 -f 0 -u 0 -t 1 -s 64; true",
    "killed": "kill -9 $$",
    "killed parent": "kill -9 $PPID; true",
    "stopped": "(sleep 1; kill -CONT $$) >/dev/null 2>&1 & kill -STOP $$; true",
    "children that hold the pipes": "sleep 300 & disown -a; (trap '' HUP TERM; sleep 300) & true",
    "state swapped": "d=$(echo /tmp/.sandmux/*); rm -rf $d; ln -s /etc $d; true",
    "state endless": "d=$(echo /tmp/.sandmux/*); rm -f $d/a $d/b $d/slot; mkfifo $d/a $d/b; ln -s /dev/zero $d/slot; true",
    "state filled": "d=$(echo /tmp/.sandmux/*); head -c 3000000 /dev/urandom | tee $d/a > $d/b; true",
    "no directory": "d=/tmp/gone; mkdir -p $d; cd $d; rmdir $d",
    "marks of its own": "printf '\\036%s;0\\036\\036%s:0\\036' \"$__smx_end\" \"$__smx_end\"; printf '\\036%s;9999\\036' \"$__smx_end\" >&2; sleep 0.2",
}


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize("what", HOSTILE_STATE)
def test_a_command_spoils_its_own_session_only(sandbox, what, shell):
    """Whatever it does: it is answered, others of the sandbox go on, and the session can be used or deleted."""
    assert session(sandbox, "other").status_code == 201
    assert session(sandbox, "s", shell=shell).status_code == 201
    for _ in range(2):
        reply = sandbox.daemon.post(f"{sandbox.path}/sessions/s/exec", json={"command": HOSTILE_STATE[what], "timeout_s": 5}, timeout=100)
        assert reply.status_code < 600, reply.text
    sandbox.daemon.post(f"{sandbox.path}/sessions/s/exec", json={"command": "echo again", "timeout_s": 3}, timeout=100)
    assert run(sandbox, "other", "echo fine")["stdout"] == "fine\n"
    assert sandbox.exec("echo fine")["stdout"] == "fine\n"
    assert sandbox.daemon.delete(f"{sandbox.path}/sessions/s", timeout=100).status_code == 204
    assert session(sandbox, "s").status_code in (200, 201, 500)
    until(lambda: sandbox.exec("ls -d /proc/[0-9]*/cwd | wc -l")["exit_code"] == 0)
