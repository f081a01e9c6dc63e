"""Requests that the list of observed answers does not have, and that clients make all the same: conditions and ranges as
RFC 9110 has them, numbers as proto3 JSON allows them, names in Basic fields, trees that arrive in a watch at once."""
import base64
import json
import time

import pytest
from agentclient import agent, envelope, until  # noqa: F401 (agent is a fixture)
from test_watch import Events

FS, P = "/filesystem.Filesystem/", "/process.Process/"
LONG_AGO = "Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.fixture(scope="module")
def modified(agent):
    agent.put("/tmp/ten", b"0123456789")
    return agent.get("/tmp/ten")[1]["last-modified"]


@pytest.mark.parametrize("fields,status", [
    ({"If-None-Match": "*"}, 304), ({"If-None-Match": '"x"'}, 200), ({"If-None-Match": '"x"', "If-Modified-Since": "now"}, 200),
    ({"If-Match": "*"}, 200), ({"If-Match": '"x"'}, 412), ({"If-Match": "*", "If-Unmodified-Since": LONG_AGO}, 200),
    ({"If-Unmodified-Since": LONG_AGO}, 412), ({"If-Unmodified-Since": "now"}, 200), ({"If-Unmodified-Since": "x"}, 200),
    ({"If-Modified-Since": "now", "Range": "bytes=50-"}, 304), ({"If-Match": '"x"', "If-None-Match": "*"}, 412),
    ({"If-Modified-Since": "now and more"}, 200),
    ({"If-Modified-Since": "Sunday, 06-Nov-44 08:49:37 GMT"}, 304), ({"If-Modified-Since": "Sun Nov  6 08:49:37 2044"}, 304)])
def test_conditions_of_rfc_9110(agent, modified, fields, status):
    got = agent.get("/tmp/ten", {k: v.replace("now", modified) for k, v in fields.items()})
    assert got[0] == status and got[1]["last-modified"] == modified
    assert got[2] == (b"0123456789" if status == 200 else b"")


@pytest.mark.parametrize("condition,status", [("now", 206), (LONG_AGO, 200), ('"x"', 200), ("now ", 206)])
def test_if_range(agent, modified, condition, status):
    got = agent.get("/tmp/ten", {"Range": "bytes=2-3", "If-Range": condition.replace("now", modified)})
    assert (got[0], got[2]) == ((206, b"23") if status == 206 else (200, b"0123456789"))


@pytest.mark.parametrize("field,want", [("bytes=0-99999999999999999999", b"0123456789"), ("bytes=8-18446744073709551616", b"89"),
                                        ("bytes=-99999999999999999999", b"0123456789"), ("bytes=99999999999999999999-", None)])
def test_positions_of_more_digits_than_a_file_can_have(agent, modified, field, want):
    status, headers, body = agent.get("/tmp/ten", {"Range": field})
    assert (status, body) == (206, want) if want else status == 416


@pytest.mark.parametrize("field", ["bytes=0-", "bytes=0-9", "bytes=-5", "bytes=7-"])
def test_a_range_of_an_empty_file_is_the_empty_file(agent, field):
    agent.put("/tmp/nothing", b"")
    status, headers, body = agent.get("/tmp/nothing", {"Range": field})
    assert (status, headers["content-length"], body) == (200, "0", b"")


@pytest.mark.parametrize("number,ok", [(1.0, True), (1e0, True), ("1", True), ("1e0", False), (1.5, False), (1e10, False), (True, False)])
def test_integers_in_the_forms_of_proto3(agent, number, ok):
    status, reply = agent.unary(FS + "ListDir", {"path": "/home", "depth": number})
    assert (status == 200) == ok and (ok or "depth: must be an integer" in reply["message"])


def test_a_pid_as_a_number_with_a_point(agent):
    s = agent.start("sleep", "100")
    pid = s.event()["start"]["pid"]
    assert agent.unary(P + "SendSignal", {"process": {"pid": float(pid)}, "signal": 9}) == (200, {})
    s.close()


@pytest.mark.parametrize("user,path", [("user:" + "p" * 400, "/home/user"), ("user:a:b", "/home/user"), ("1000:", None),
                                       ("u" * 300 + ":", None), ("user" + "u" * 3000 + ":", None), ("..:", None)])
def test_a_long_basic_field_is_read_as_well(agent, user, path):
    value = "Basic " + base64.b64encode(user.encode()).decode()
    status, reply = agent.unary(FS + "Stat", {"path": ""}, user=None, Authorization=value)
    if path:
        assert (status, reply["entry"]["path"]) == (200, path)
    else:
        assert (status, reply["code"]) == (401, "unauthenticated") and reply["message"].startswith("invalid username: '")


def test_a_directory_does_not_move_into_itself_across_file_systems(agent):
    agent.sh("mkdir -p /tmp/inside && echo x > /tmp/inside/file")
    status, reply = agent.unary(FS + "Move", {"source": "/tmp", "destination": "/tmp/inside/t"})  # /tmp is a mount
    assert (status, reply["code"]) == (500, "internal") and "Invalid argument" in reply["message"]
    assert agent.sh("ls /tmp/inside").stdout == b"file\n"
    agent.sh("ln -s /tmp /home/user/link")  # what a link leads to does not move
    assert agent.unary(FS + "Move", {"source": "/home/user/link", "destination": "/tmp/inside/link"})[0] == 200
    assert agent.stat("/tmp/inside/link")[1]["entry"]["symlinkTarget"] == "/tmp"


def test_metadata_that_is_given_twice_has_the_last_value(agent):
    reply = agent.put("/tmp/twice", b"x", {"X-Metadata-Key": "1", "x-metadata-key": "2", "X-METADATA-other": "3"})
    assert b'"metadata":{"key":"2","other":"3"}' in reply[2]
    assert agent.stat("/tmp/twice")[1]["entry"]["metadata"] == {"key": "2", "other": "3"}


@pytest.mark.parametrize("messages,code", [
    ([{"keepalive": {}}], None), ([{"keepalive": {}}, {"start": None}], "invalid_argument"),
    ([{"keepalive": {}, "data": {"input": {"stdin": "eA=="}}}], "invalid_argument"), ([{}], "invalid_argument")])
def test_keepalives_may_come_before_the_process_is_named(agent, messages, code):
    s = agent.open(P + "StreamInput", body=b"".join(envelope(json.dumps(m).encode()) for m in messages))
    while s.event() is not None:
        pass
    assert s.ended and (s.error or {}).get("code") == code


def test_a_large_tree_that_is_moved_into_a_watch_is_told_in_full(agent):
    """With its entries that is more than is kept at once."""
    name = f"/tmp/tree{time.monotonic_ns()}"
    agent.unary(FS + "MakeDir", {"path": name + "/watched"})
    agent.sh(f"mkdir {name}/big && cd {name}/big && for i in $(seq 80); do mkdir d$i; (cd d$i; seq 200 | xargs touch); done")
    e = Events(agent, name + "/watched", recursive=True, includeEntry=True)
    agent.sh(f"mv {name}/big {name}/watched/")
    until(lambda: len(e.got) >= 1 + 80 * 201 or e.stream.ended, "not all is told")
    assert not e.stream.ended and {x["name"] for x in e.got} >= {f"big/d{i}/{j}" for i in range(1, 81) for j in range(1, 201)}
    assert e.got[-1]["entry"]["type"] == "FILE_TYPE_FILE"
    agent.sh(f"touch {name}/watched/big/d7/later")
    e.expect(("big/d7/later", "CREATE"))
    e.close()
    agent.unary(FS + "Remove", {"path": name})


@pytest.mark.parametrize("disposition,path", [
    ("filename*=UTF-8''%2Ftmp%2Fm%C3%BCll.txt", "/tmp/müll.txt"), ("filename=_; filename*=utf-8'de'sch%20%22n", '/home/user/sch "n'),
    ("filename*=utf-8''a%00b", None), ("filename*=utf-16''a", None)])
def test_names_of_a_form_in_the_form_of_rfc_8187(agent, disposition, path):
    """So do some clients send names that are not ASCII."""
    body = f'--B\r\nContent-Disposition: form-data; name="file"; {disposition}\r\n\r\ncontent\r\n--B--\r\n'.encode()
    status, _, reply = agent.request("POST", "/files?username=user", body, {"Content-Type": "multipart/form-data; boundary=B"})
    if path:
        assert status == 200 and json.loads(reply)[0]["path"] == path
        assert agent.get(path)[2] == b"content"
    else:
        assert status == 500 and "filename" in json.loads(reply)["message"]


@pytest.mark.parametrize("seconds,year,date", [
    (-1, "1969-12-31T23:59:59Z", "Wed, 31 Dec 1969 23:59:59 GMT"), (-62135596801, "0001-01-01T00:00:00Z", "Mon, 01 Jan 0001 00:00:00 GMT"),
    (-61000000000, "0036-12-26T11:33:20Z", "Fri, 26 Dec 0036 11:33:20 GMT"),
    (253402300800, "9999-12-31T23:59:59Z", "Fri, 31 Dec 9999 23:59:59 GMT"), (2**62, "9999-12-31T23:59:59Z", "Fri, 31 Dec 9999 23:59:59 GMT")])
def test_times_that_no_calendar_has_are_dates_all_the_same(agent, seconds, year, date):
    """A client that cannot read one date of a list gets no list."""
    agent.sh(f"touch -d @{seconds} /tmp/once")
    assert agent.stat("/tmp/once")[1]["entry"]["modifiedTime"] == year
    assert agent.get("/tmp/once")[1]["last-modified"] == date
