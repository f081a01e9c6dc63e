"""filesystem.Filesystem: each case is one that E2B's envd was observed to answer."""
import pytest
from agentclient import agent, basic  # noqa: F401 (agent is a fixture)

FS = "/filesystem.Filesystem/"


def call(agent, method, user="user", **message):
    return agent.unary(FS + method, message, user)


def test_stat_ok_file(agent):
    status, reply = agent.stat("/home/hostname")
    time = reply["entry"].pop("modifiedTime")
    assert status == 200 and time.endswith("Z") and "T" in time
    assert reply["entry"] == {"name": "hostname", "type": "FILE_TYPE_FILE", "path": "/home/hostname", "size": "3",
                              "mode": 0o644, "permissions": "-rw-r--r--", "owner": "root", "group": "root"}


def test_stat_ok_dir(agent):
    entry = agent.stat("/etc")[1]["entry"]
    assert (entry["type"], entry["mode"], entry["permissions"]) == ("FILE_TYPE_DIRECTORY", 0o755, "drwxr-xr-x")
    assert agent.stat("/tmp")[1]["entry"]["permissions"] == "dtrwxrwxrwx"
    assert agent.stat("/")[1]["entry"]["name"] == "/"


def test_stat_ok_symlink(agent):
    entry = agent.stat("/home/bin")[1]["entry"]
    del entry["modifiedTime"]
    assert entry == {"name": "bin", "type": "FILE_TYPE_DIRECTORY", "path": "/home/bin", "size": "8", "mode": 0o755,
                     "permissions": "Lrwxrwxrwx", "owner": "root", "group": "root", "symlinkTarget": "/usr/bin",
                     "isSymlink": True}  # of later versions than the one observed


def test_stat_broken_and_looping_symlink(agent):
    agent.sh("ln -sfn nowhere broken; ln -sfn loop loop")
    entry = agent.stat("broken")[1]["entry"]
    assert "type" not in entry and entry["symlinkTarget"] == "nowhere" and entry["owner"] == "user"
    assert agent.stat("loop")[1]["entry"]["symlinkTarget"] == "loop"
    status, reply = call(agent, "ListDir", path="loop")
    assert (status, reply["code"]) == (400, "failed_precondition")
    agent.sh("rm broken loop")


def test_stat_special_files(agent):
    agent.sh("mkfifo /tmp/fifo")
    entry = agent.stat("/tmp/fifo")[1]["entry"]
    assert "type" not in entry and entry["permissions"] == "prw-r--r--"
    assert agent.stat("/dev/null")[1]["entry"]["permissions"] == "Dcrw-rw-rw-"


def test_stat_relative_home(agent):
    entry = agent.stat(".bashrc")[1]["entry"]
    assert (entry["path"], entry["owner"], entry["group"], entry["size"]) == ("/home/user/.bashrc", "user", "user", "6")


def test_stat_empty_path(agent):
    assert agent.stat("")[1]["entry"]["path"] == "/home/user"
    assert agent.stat("~/../user/./")[1]["entry"]["path"] == "/home/user"


def test_stat_owner_without_name(agent):
    agent.sh("touch /tmp/nobodys; chown 4321:8765 /tmp/nobodys", user="root")
    entry = agent.stat("/tmp/nobodys")[1]["entry"]
    assert (entry["owner"], entry["group"]) == ("4321", "8765") and "size" not in entry


def test_stat_missing(agent):
    status, reply = agent.stat("/nosuch/file")
    assert (status, reply["code"]) == (404, "not_found")
    assert reply["message"].startswith("file not found:") and "No such file" in reply["message"]


def test_stat_through_file(agent):
    status, reply = agent.stat("/etc/passwd/x")
    assert (status, reply["code"]) == (500, "internal")


def test_stat_other(agent):
    status, reply = agent.stat("~root")
    assert (status, reply["code"]) == (400, "invalid_argument")
    assert "cannot expand user-specific home dir" in reply["message"]


def test_stat_nul(agent):
    status, reply = agent.stat("/tmp/a\0b")
    assert (status, reply["code"]) == (500, "internal") and "invalid argument" in reply["message"]


@pytest.mark.parametrize("body", [b"{bad", b'{"path":5}', b"[]", b'{"path":["a"]}'])
def test_stat_bad_json(agent, body):
    status, reply = agent.unary(FS + "Stat", body)
    assert (status, reply["code"]) == (400, "invalid_argument") and "unmarshal message" in reply["message"]


@pytest.mark.parametrize("path", ["/tmp/" + "a" * 300, "/tmp/" + "a/" * 3000, "a" * 5000])
def test_stat_long_name(agent, path):
    status, reply = agent.stat(path)
    assert (status, reply["code"]) == (500, "internal") and "too long" in reply["message"]


def test_listdir_ok(agent):
    agent.sh("mkdir -p /tmp/list/b/c/d; touch /tmp/list/a /tmp/list/b/x; ln -s b /tmp/list/link")
    status, reply = call(agent, "ListDir", path="/tmp/list")
    assert status == 200 and [e["path"] for e in reply["entries"]] == ["/tmp/list/a", "/tmp/list/b", "/tmp/list/link"]
    assert [e["type"] for e in reply["entries"]] == ["FILE_TYPE_FILE", "FILE_TYPE_DIRECTORY", "FILE_TYPE_DIRECTORY"]
    assert reply["entries"] == [agent.stat(e["path"])[1]["entry"] for e in reply["entries"]]
    deep = call(agent, "ListDir", path="/tmp/list", depth=3)[1]["entries"]
    assert [e["path"][10:] for e in deep] == ["a", "b", "b/c", "b/c/d", "b/x", "link"]
    assert len(call(agent, "ListDir", path="/tmp/list", depth=2)[1]["entries"]) == 5
    linked = call(agent, "ListDir", path="/tmp/list/link")[1]["entries"]
    assert [e["path"] for e in linked] == ["/tmp/list/link/c", "/tmp/list/link/x"]


def test_listdir_empty_and_root(agent):
    agent.sh("mkdir -p /tmp/empty")
    assert call(agent, "ListDir", path="/tmp/empty")[1].get("entries", []) == []
    assert "/etc" in [e["path"] for e in call(agent, "ListDir", path="/")[1]["entries"]]
    assert {e["name"] for e in call(agent, "ListDir", path="")[1]["entries"]} >= {".bashrc", ".bash_logout", ".profile"}


def test_listdir_many_and_odd_names(agent):
    agent.sh("mkdir -p /tmp/many; cd /tmp/many; seq -f 'f%05.0f' 1 2000 | xargs touch; touch 'a b#c%20d?&+=' 'q\"q' "
             "$(printf '\\360\\237\\244\\243.txt')")
    names = [e["name"] for e in call(agent, "ListDir", path="/tmp/many")[1]["entries"]]
    assert len(names) == 2003 and names == sorted(names, key=lambda n: n.encode())
    assert {"a b#c%20d?&+=", 'q"q', "\U0001f923.txt"} <= set(names)


def test_listdir_name_that_is_no_utf8(agent):
    agent.sh("mkdir -p /tmp/bytes; touch /tmp/bytes/$(printf 'x\\377y')")
    assert call(agent, "ListDir", path="/tmp/bytes")[1]["entries"][0]["name"] == "x\ufffdy"


def test_listdir_missing(agent):
    status, reply = call(agent, "ListDir", path="/nosuch")
    assert (status, reply["code"]) == (404, "not_found") and reply["message"].startswith("path not found:")


def test_listdir_file(agent):
    assert call(agent, "ListDir", path="/etc/passwd") == (
        400, {"code": "invalid_argument", "message": "path is not a directory: /etc/passwd"})


def test_mkdir_ok_and_again(agent):
    status, reply = call(agent, "MakeDir", path="newdir/sub")
    entry = reply["entry"]
    assert status == 200 and entry["path"] == "/home/user/newdir/sub" and entry["permissions"] == "drwxr-xr-x"
    assert (entry["owner"], entry["group"]) == ("user", "user")
    assert agent.stat("newdir")[1]["entry"]["owner"] == "user"
    assert call(agent, "MakeDir", path="newdir/sub") == (
        409, {"code": "already_exists", "message": "directory already exists: /home/user/newdir/sub"})


def test_mkdir_on_file(agent):
    assert call(agent, "MakeDir", path="/etc/passwd") == (
        400, {"code": "invalid_argument", "message": "path already exists but it is not a directory: /etc/passwd"})


def test_mkdir_under_file(agent):
    status, reply = call(agent, "MakeDir", path="/etc/passwd/x/y")
    assert (status, reply["code"]) == (500, "internal")


def test_mkdir_where_the_user_may_not(agent):
    assert call(agent, "MakeDir", path="/home/closed/deep/dir")[0] == 200
    assert agent.stat("/home/closed/deep")[1]["entry"]["owner"] == "user"


def test_move_missing(agent):
    status, reply = call(agent, "Move", source="nosuch", destination="x")
    assert (status, reply["code"]) == (404, "not_found") and reply["message"].startswith("source file not found:")


def test_move_ok(agent):
    agent.sh("mkdir -p from/sub; echo x > from/file; echo y > target")
    status, reply = call(agent, "Move", source="from/sub", destination="deep/er/sub")
    assert status == 200 and reply["entry"]["path"] == "/home/user/deep/er/sub"
    assert agent.stat("deep/er")[1]["entry"]["owner"] == "user"
    assert call(agent, "Move", source="from/file", destination="target")[0] == 200
    assert agent.get("target")[2] == b"x\n"
    assert agent.stat("from/file")[0] == 404


def test_move_to_another_file_system(agent):
    agent.sh("mkdir -p tree/sub; echo x > tree/sub/file; ln -s file tree/sub/link; chmod 700 tree/sub")
    status, reply = call(agent, "Move", source="tree", destination="/tmp/moved/tree")
    assert status == 200 and reply["entry"]["path"] == "/tmp/moved/tree"
    assert agent.get("/tmp/moved/tree/sub/file")[2] == b"x\n" and agent.stat("tree")[0] == 404
    assert agent.stat("/tmp/moved/tree/sub")[1]["entry"]["mode"] == 0o700
    assert agent.stat("/tmp/moved/tree/sub/file")[1]["entry"]["owner"] == "user"


def test_remove_missing_and_ok(agent):
    assert call(agent, "Remove", path="/tmp/never/was") == (200, {})
    agent.sh("mkdir -p rm/a/b; touch rm/a/b/c; ln -s /etc rm/link")
    assert call(agent, "Remove", path="rm") == (200, {})
    assert agent.stat("rm")[0] == 404 and agent.stat("/etc/passwd")[0] == 200
    agent.sh("touch one")
    assert call(agent, "Remove", path="one") == (200, {})
    assert agent.stat("one")[0] == 404


@pytest.mark.parametrize("path", ["", "/", "//", "/tmp/.."])
def test_remove_empty_path_is_refused(agent, path):
    status, reply = call(agent, "Remove", path=path)
    assert (status, reply["code"]) == (400, "invalid_argument")
    assert agent.stat("/home/user/.bashrc")[0] == 200


def test_remove_proc_file(agent):
    status, reply = call(agent, "Remove", path="/proc/1/status")
    assert (status, reply["code"]) == (500, "internal")


def test_stat_with_meta(agent):
    assert agent.put("meta.txt", b"hello", {"X-Metadata-Foo-Bar": "baz"})[0] == 200
    assert agent.stat("meta.txt")[1]["entry"]["metadata"] == {"foo-bar": "baz"}
