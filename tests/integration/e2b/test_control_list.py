"""GET /v2/sandboxes and GET /sandboxes: filters, order, pages; field report 10."""
import base64
import datetime
import urllib.parse

import pytest

from controlplane import Control, control, refused  # noqa: F401

pytestmark = pytest.mark.root


def quote(s, times=1):
    for _ in range(times):
        s = urllib.parse.quote(s, safe="")
    return s


@pytest.fixture
def tagged(control):
    """Eight sandboxes of one tag; every other one is paused. Newest first."""
    ids = [control.create(metadata={"tag": "list", "n": str(i)}, timeout=600) for i in range(8)]
    for id in ids[::2]:
        assert control.post(f"/sandboxes/{id}/pause").status_code == 204
    return ids[::-1]


def test_states_and_order(control, tagged):
    assert control.ids("metadata=tag%3Dlist") == tagged
    assert control.ids("metadata=tag%3Dlist&order=asc") == tagged[::-1]
    assert control.ids("metadata=tag%3Dlist&order=desc&state=running,paused") == tagged
    assert control.ids("metadata=tag%3Dlist&state=running%2Cpaused") == tagged
    assert control.ids("metadata=tag%3Dlist&state=running&state=paused") == tagged
    assert control.ids("metadata=tag%3Dlist&state=paused") == tagged[1::2]
    assert control.ids("metadata=tag%3Dlist&state=running") == tagged[::2]
    assert control.list("metadata=tag%3Dlist").headers["X-Total-Running"] == "4"
    assert [s["state"] for s in control.list("metadata=tag%3Dlist").json()] == ["running", "paused"] * 4
    assert control.ids("metadata=tag%3Dlist", version=1) == tagged[::2]


def test_what_a_list_shows(control):
    id = control.create(metadata={"k": "v"}, timeout=600)
    got = control.detail(id)
    listed, = control.list("metadata=k%3Dv").json()
    assert "envdAccessToken" not in listed and "network" not in listed
    for key in ("templateID", "alias", "sandboxID", "clientID", "startedAt", "endAt", "cpuCount", "memoryMB", "diskSizeMB", "metadata",
                "state", "envdVersion"):
        assert listed[key] == got[key]


@pytest.mark.parametrize("key, value", [("a", "b"), ("user name", "two words"), ("k&=+%", "v&=+% "), ("ä", "€😀"), ("k", "100%"), ("k", ""),
                                        ("k", "a+b"), ("k", "a%20b")])
@pytest.mark.parametrize("times", [1, 2])
def test_metadata_as_clients_encode_it(control, key, value, times):
    id = control.create(metadata={key: value, "other": "x"})
    control.create(metadata={key: value + "y"})
    text = f"{quote(key, times)}={quote(value, times)}"
    assert control.ids(f"metadata={quote(text)}") == [id]
    assert control.ids(f"metadata={quote(text + '&other=x')}") == [id]
    assert control.ids(f"metadata={quote(text + '&other=y')}") == []
    assert control.ids(f"metadata={quote(text)}", version=1) == [id]


def test_a_filter_that_is_empty_or_odd(control):
    id = control.create(metadata={"k": "v", "flag": ""})
    for text in ("", "&&", "k=v&", "flag", "k=v"):
        assert id in control.ids(f"metadata={quote(text)}")
    assert control.ids(f"metadata={quote('k')}") == []
    refused(control.get("/v2/sandboxes?metadata=" + quote("&".join(f"k{i}=v" for i in range(100)))), 400, "metadata")
    assert b" 400 " in control.daemon.raw(b"GET /v2/sandboxes?metadata=%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    refused(control.get("/v2/sandboxes?metadata=a&metadata=b"), 400)


def test_field_report_10_pages(control):
    ids = [control.create(metadata={"tag": "page"}) for _ in range(25)][::-1]
    seen, token, sizes = [], "", []
    while True:
        reply = control.list(f"metadata=tag%3Dpage&limit=10&nextToken={token}" if token else "metadata=tag%3Dpage&limit=10")
        page = [s["sandboxID"] for s in reply.json()]
        sizes.append(len(page))
        seen += page
        token = reply.headers.get("X-Next-Token", "")
        if not token:
            break
        if len(sizes) == 1:  # one that was seen, and one that is to come, go meanwhile
            assert control.delete(f"/sandboxes/{page[-1]}").status_code == 204
            assert control.delete(f"/sandboxes/{ids[-1]}").status_code == 204
    assert sizes == [10, 10, 4] and seen == ids[:-1]
    assert "X-Next-Token" not in control.list("metadata=tag%3Dpage&limit=23").headers
    assert control.list("metadata=tag%3Dpage&limit=22").headers["X-Next-Token"]


def test_pages_in_both_orders_and_with_states(control, tagged):
    for order in ("asc", "desc"):
        for state, wanted in (("running,paused", tagged), ("paused", tagged[1::2])):
            seen, token = [], ""
            while True:
                reply = control.list(f"metadata=tag%3Dlist&limit=3&order={order}&state={state}" + (f"&nextToken={token}" if token else ""))
                seen += [s["sandboxID"] for s in reply.json()]
                token = reply.headers.get("X-Next-Token", "")
                if not token:
                    break
            assert seen == (wanted if order == "desc" else wanted[::-1])


def test_a_page_of_one(control):
    ids = [control.create(metadata={"tag": "one"}) for _ in range(2)][::-1]
    first = control.list("metadata=tag%3Done&limit=1")
    second = control.list(f"metadata=tag%3Done&limit=1&nextToken={first.headers['X-Next-Token']}")
    assert [s["sandboxID"] for s in first.json() + second.json()] == ids and "X-Next-Token" not in second.headers


def encoded(text):
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize("token", ["garbage", "!!", encoded("x"), encoded("2026-01-01T00:00:00Z"), encoded("2026-01-01T00:00:00Z__short"),
                                   encoded("yesterday__i" + "0" * 20), encoded("2026-01-01T00:00:00Z__i" + "0" * 20 + "__up"), "A" * 5000,
                                   encoded("2026-01-01T00:00:00Z__i" + "0" * 20 + "__asc"), encoded("\0" * 20)])
def test_tokens_that_are_none(control, token):
    refused(control.get(f"/v2/sandboxes?nextToken={quote(token)}"), 400, "Invalid next token")


def test_a_token_of_another_server_is_a_place_in_time(control):
    id = control.create()
    assert id not in control.ids("nextToken=" + encoded("2020-01-01T00:00:00.000000001Z__i" + "0" * 20))
    assert id in control.ids("nextToken=" + encoded("2120-01-01T00:00:00Z__i" + "0" * 20))


def test_started_after_and_template(control):
    old = control.create(metadata={"tag": "after"})
    new = control.create(metadata={"tag": "after"})
    at = control.detail(old)["startedAt"]
    assert control.ids(f"metadata=tag%3Dafter&startedAfter={at}") == [new]
    local = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    assert set(control.ids(f"metadata=tag%3Dafter&startedAfter={quote(local.isoformat())}")) == {old, new}
    assert set(control.ids(f"metadata=tag%3Dafter&startedAfter={local.isoformat()}")) == {old, new}  # '+' that was not encoded
    assert control.ids("metadata=tag%3Dafter&startedAfter=2120-01-01T00:00:00Z") == []
    assert control.ids("metadata=tag%3Dafter&template=base") == [new, old]
    assert control.ids("metadata=tag%3Dafter&template=base:default") == [new, old]
    assert control.ids("metadata=tag%3Dafter&template=other") == []


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=-1", "limit=x", "limit=1&limit=2", "order=up", "state=dead",
                                   "state=running,", "state=Running", "startedAfter=yesterday", "startedAfter=9999999999999999999",
                                   "template=a%20b", "nextToken=%zz", "state=%zz"])
def test_wrong_queries(control, query):
    if query == "state=running,":
        assert control.list(query).status_code == 200
    else:
        refused(control.get(f"/v2/sandboxes?{query}"), 400)
