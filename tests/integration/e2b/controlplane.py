"""E2B's control plane by plain requests: what the SDKs send, without the SDKs."""
import re

import pytest
import requests

from conftest import PATIENCE_S

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")


class Control:
    """Every verb takes what requests takes; sandboxes that it made are deleted at its end."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.made = []

    def request(self, method, path, **more):
        more.setdefault("timeout", PATIENCE_S)
        return requests.request(method, self.daemon.url + path, **more)

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, json=None, **more):
        return self.request("POST", path, json=json, **more)

    def delete(self, path, **more):
        return self.request("DELETE", path, **more)

    def try_create(self, version=2, headers=None, **body):
        body.setdefault("templateID", "base")
        reply = self.post("/v2/sandboxes" if version == 2 else "/sandboxes", body, headers=headers)
        if reply.status_code == 201:
            self.made.append(reply.json()["sandboxID"])
        return reply

    def create(self, **more):
        reply = self.try_create(**more)
        assert reply.status_code == 201, reply.text
        return reply.json()["sandboxID"]

    def detail(self, id):
        reply = self.get(f"/sandboxes/{id}")
        assert reply.status_code == 200, reply.text
        return reply.json()

    def list(self, query="", version=2):
        reply = self.get(("/v2" if version == 2 else "") + "/sandboxes" + (f"?{query}" if query else ""))
        assert reply.status_code == 200, reply.text
        return reply

    def ids(self, query="", version=2):
        return [s["sandboxID"] for s in self.list(query, version).json()]

    def close(self):
        for id in self.made:
            self.delete(f"/sandboxes/{id}")


@pytest.fixture
def control(daemon):
    c = Control(daemon)
    yield c
    c.close()


def refused(reply, status, text=None):
    """E2B's one shape of errors; clients look at the number in the body."""
    assert reply.status_code == status, reply.text
    body = reply.json()
    assert body["code"] == status and isinstance(body["code"], int) and body["message"]
    assert text is None or text in body["message"], body
    return body
