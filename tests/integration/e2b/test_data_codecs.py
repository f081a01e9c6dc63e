"""The binary codec of Connect, and gRPC-Web, through the door: what clients generated from the protocol's definitions send."""
import pytest
from dataplane import ask, envelope

PATH = b"\x0a\x04/etc"  # field 1 of StatRequest


def start(command):
    config = b"\x0a\x02sh\x12\x02-c\x12" + bytes([len(command)]) + command
    return b"\x0a" + bytes([len(config)]) + config + b"\x20\x00"


def test_unary_and_streams_in_binary(module_sandbox):
    reply = ask(module_sandbox, "POST", "/filesystem.Filesystem/Stat", data=PATH, headers={"Content-Type": "application/proto"})
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "application/proto")
    assert b"\x0a\x03etc\x10\x02\x1a\x04/etc" in reply.content
    reply = ask(module_sandbox, "POST", "/process.Process/Start", data=envelope(start(b"echo yes")),
                headers={"Content-Type": "application/connect+proto", "Connect-Protocol-Version": "1"})
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "application/connect+proto")
    assert b"\x0a\x08\x12\x06\x0a\x04yes\n" in reply.content and reply.content.endswith(b"\x02\0\0\0\x02{}")


@pytest.mark.parametrize("kind", ["application/grpc-web", "application/grpc-web+proto"])
def test_grpc_web(module_sandbox, kind):
    reply = ask(module_sandbox, "POST", "/filesystem.Filesystem/Stat", data=envelope(PATH), headers={"Content-Type": kind})
    assert reply.status_code == 200 and reply.content.endswith(b"\x80\0\0\0\x10grpc-status: 0\r\n")


def test_nobody_gets_in_by_another_codec(module_sandbox):
    for kind in ("application/proto", "application/connect+proto", "application/grpc-web+proto"):
        assert ask(module_sandbox, "POST", "/filesystem.Filesystem/Stat", token=False, data=PATH,
                   headers={"Content-Type": kind}).status_code == 401
