"""Files of a sandbox."""
import io
import os

import e2b
from context import check, equal, sha256

CASES = {}
MIB = 1 << 20


def case(name):
    return lambda fn: CASES.setdefault(name, fn)


async def collect(c, stream):
    if c.is_async:
        return b"".join([part async for part in stream])
    return b"".join(stream)


async def sum_of(c, sbx, path):
    return (await c(sbx.commands.run(f"sha256sum <'{path}'"))).stdout.split()[0]


async def watched(c, sbx, folder, wanted, act, **more):
    """Watches, does something, and waits until each of the wanted events came."""
    events = []
    if c.is_async:
        handle = await sbx.files.watch_dir(folder, on_event=events.append, **more)
    else:
        handle = sbx.files.watch_dir(folder, **more)
    await act()

    def complete():
        if not c.is_async:
            events.extend(handle.get_new_events())
        seen = {(e.type.value, e.name) for e in events}
        return set(wanted) <= seen
    try:
        await c.until(complete, f"events {wanted}", 20)
    except AssertionError as e:
        raise AssertionError(f"{e}; came {[(x.type.value, x.name) for x in events]}") from e
    await c(handle.stop())
    return events


@case("files.write and read: text")
async def _(c):
    sbx, d = await c.folder()
    info = await c(sbx.files.write(f"{d}/new/deep/a.txt", "hellö\n"))
    equal((info.name, info.path), ("a.txt", f"{d}/new/deep/a.txt"), "info")
    equal(await c(sbx.files.read(f"{d}/new/deep/a.txt")), "hellö\n", "text")
    await c(sbx.files.write(f"{d}/new/deep/a.txt", "x"))
    equal(await c(sbx.files.read(f"{d}/new/deep/a.txt")), "x", "overwritten")
    owners = await c(sbx.commands.run(f"stat -c '%U %G' {d}/new {d}/new/deep/a.txt"))
    equal(owners.stdout, "user user\nuser user\n", "owner")
    await c(sbx.files.write("relative.txt", "r"))
    equal(await c(sbx.files.read("/home/user/relative.txt")), "r", "relative to home")


@case("files.read: bytes, blob, stream")
async def _(c):
    sbx, d = await c.folder()
    data = os.urandom(300_000)
    await c(sbx.files.write(f"{d}/b", data))
    equal(sha256(await c(sbx.files.read(f"{d}/b", format="bytes"))), sha256(data), "bytes")
    equal(sha256(await collect(c, await c(sbx.files.read(f"{d}/b", format="stream")))), sha256(data), "stream")


@case("files.write: ArrayBuffer, Blob, stream")
async def _(c):
    sbx, d = await c.folder()
    data = os.urandom(300_000)
    await c(sbx.files.write(f"{d}/bytes", data))
    await c(sbx.files.write(f"{d}/io", io.BytesIO(data)))

    async def pieces():
        yield data[:1000]
        yield data[1000:]
    await c(sbx.files.write(f"{d}/pieces", pieces() if c.is_async else iter([data[:1000], data[1000:]])))
    for name in ("bytes", "io", "pieces"):
        equal(await sum_of(c, sbx, f"{d}/{name}"), sha256(data), name)


@case("files.write: many")
async def _(c):
    sbx, d = await c.folder()
    entries = [{"path": f"{d}/m/{i}.txt", "data": f"number {i}"} for i in range(20)]
    infos = await c(sbx.files.write_files(entries))
    equal([i.path for i in infos], [e["path"] for e in entries], "paths")
    for e in (entries[0], entries[19]):
        equal(await c(sbx.files.read(e["path"])), e["data"], e["path"])
    equal(await c(sbx.files.write_files([])), [], "none")


@case("files.write: gzip, octet-stream")
async def _(c):
    sbx, d = await c.folder()
    text = "the same line\n" * 20_000
    await c(sbx.files.write(f"{d}/plain", text, use_octet_stream=True))
    await c(sbx.files.write(f"{d}/form", text, use_octet_stream=False))
    await c(sbx.files.write(f"{d}/packed", text, gzip=True))
    for name in ("plain", "form", "packed"):
        equal(await sum_of(c, sbx, f"{d}/{name}"), sha256(text), name)
    equal(await c(sbx.files.read(f"{d}/packed", gzip=True)), text, "read with gzip")


@case("files.write: metadata")
async def _(c):
    sbx, d = await c.folder()
    info = await c(sbx.files.write(f"{d}/m", "x", metadata={"Author": "me", "purpose": "test run"}))
    equal(info.metadata, {"author": "me", "purpose": "test run"}, "answer of write")
    equal((await c(sbx.files.get_info(f"{d}/m"))).metadata, {"author": "me", "purpose": "test run"}, "get_info")
    await c(sbx.files.write(f"{d}/m", "y"))
    check(not (await c(sbx.files.get_info(f"{d}/m"))).metadata, "cleared by a write without")


@case("files: 100 MiB up and down")
async def _(c):
    sbx = await c.fresh()
    data = os.urandom(100 * MIB)
    await c(sbx.files.write("big", data, request_timeout=120))
    equal(await sum_of(c, sbx, "/home/user/big"), sha256(data), "checksum inside")
    equal(sha256(await c(sbx.files.read("big", format="bytes", request_timeout=120))), sha256(data), "checksum of what came back")
    await c(sbx.kill())


@case("files.read: errors")
async def _(c):
    sbx, d = await c.folder()
    await c.fails(lambda: sbx.files.read(f"{d}/none"), e2b.FileNotFoundException, "none")
    await c.fails(lambda: sbx.files.read(d), e2b.InvalidArgumentException, "director")
    await c.fails(lambda: sbx.files.read("x", user="nobody-such"), e2b.AuthenticationException, "nobody-such")
    await c.fails(lambda: sbx.files.write(d, "x"), e2b.InvalidArgumentException, "director")


@case("files: odd names, empty file (field report 5)")
async def _(c):
    sbx, d = await c.folder()
    names = ["🤣.txt", "a b#c%20d?&+=.txt", 'quo"te.txt', "apo'strophe", "n" * 251 + ".txt", "back\\slash"]
    for name in names:
        await c(sbx.files.write(f"{d}/{name}", f"in {name}"))
        equal(await c(sbx.files.read(f"{d}/{name}")), f"in {name}", f"read of {name}")
    equal(sorted(e.name for e in await c(sbx.files.list(d))), sorted(names), "list")
    for name in names:
        await c(sbx.files.rename(f"{d}/{name}", f"{d}/r"))
        equal(await c(sbx.files.read(f"{d}/r")), f"in {name}", f"renamed {name}")
        await c(sbx.files.rename(f"{d}/r", f"{d}/{name}"))
        await c(sbx.files.remove(f"{d}/{name}"))
    await c(sbx.files.write(f"{d}/empty", ""))
    equal(await c(sbx.files.read(f"{d}/empty")), "", "an empty file as text")
    equal(len(await c(sbx.files.read(f"{d}/empty", format="bytes"))), 0, "and as bytes")
    await c.fails(lambda: sbx.files.write(f"{d}/{'n' * 256}", "x"), Exception, "name")


@case("files.list")
async def _(c):
    sbx, d = await c.folder()
    await c(sbx.commands.run("mkdir -p one/two/three && echo 1 >a && echo 2 >one/b && ln -s a link", cwd=d))

    async def names(**more):
        return sorted(e.path[len(d) + 1:] for e in await c(sbx.files.list(d, **more)))
    equal(await names(), ["a", "link", "one"], "depth 1")
    equal(await names(depth=2), ["a", "link", "one", "one/b", "one/two"], "depth 2")
    entries = {e.name: e for e in await c(sbx.files.list(d))}
    check(entries["one"].type == e2b.FileType.DIR and entries["a"].type == e2b.FileType.FILE, entries)
    check(entries["link"].symlink_target.endswith("/a"), entries["link"])
    await c.fails(lambda: sbx.files.list(f"{d}/none"), e2b.NotFoundException, "none")
    await c.fails(lambda: sbx.files.list(f"{d}/a"), e2b.InvalidArgumentException, "not a directory")
    await c.fails(lambda: sbx.files.list(d, depth=0), e2b.InvalidArgumentException)


@case("files.exists")
async def _(c):
    sbx, d = await c.folder()
    equal(await c(sbx.files.exists(d)), True, "a folder")
    equal(await c(sbx.files.exists(f"{d}/none")), False, "none")


@case("files.getInfo")
async def _(c):
    sbx, d = await c.folder()
    await c(sbx.files.write(f"{d}/f", "12345"))
    await c(sbx.commands.run(f"chmod 640 {d}/f"))
    i = await c(sbx.files.get_info(f"{d}/f"))
    equal((i.name, i.type, i.size, i.mode, i.permissions), ("f", e2b.FileType.FILE, 5, 0o640, "-rw-r-----"), "file")
    equal((i.owner, i.group, i.path), ("user", "user", f"{d}/f"), "owner")
    equal((await c(sbx.files.get_info(d))).type, e2b.FileType.DIR, "folder")
    await c.fails(lambda: sbx.files.get_info(f"{d}/none"), e2b.NotFoundException, "none")


@case("files.makeDir")
async def _(c):
    sbx, d = await c.folder()
    equal(await c(sbx.files.make_dir(f"{d}/a/b")), True, "new")
    equal(await c(sbx.files.make_dir(f"{d}/a/b")), False, "there already")
    await c(sbx.files.write(f"{d}/f", "x"))
    await c.fails(lambda: sbx.files.make_dir(f"{d}/f"), e2b.InvalidArgumentException)


@case("files.rename")
async def _(c):
    sbx, d = await c.folder()
    await c(sbx.files.write(f"{d}/a", "moved"))
    entry = await c(sbx.files.rename(f"{d}/a", f"{d}/new/b"))
    equal((entry.name, entry.path), ("b", f"{d}/new/b"), "entry")
    equal(await c(sbx.files.read(f"{d}/new/b")), "moved", "content")
    equal(await c(sbx.files.exists(f"{d}/a")), False, "the old name")
    await c.fails(lambda: sbx.files.rename(f"{d}/a", f"{d}/c"), e2b.NotFoundException)


@case("files.remove")
async def _(c):
    sbx, d = await c.folder()
    await c(sbx.files.write(f"{d}/d/e/f", "x"))
    await c(sbx.files.remove(f"{d}/d"))
    equal(await c(sbx.files.exists(f"{d}/d")), False, "a whole folder")
    await c(sbx.files.remove(f"{d}/d"))


@case("files: user")
async def _(c):
    sbx, d = await c.folder()
    await c(sbx.files.write(f"{d}/r", "x", user="root"))
    equal((await c(sbx.files.get_info(f"{d}/r"))).owner, "root", "owner")
    await c(sbx.files.write("of-root.txt", "x", user="root"))
    equal(await c(sbx.files.exists("/root/of-root.txt")), True, "relative to the home of the user")


@case("files.watchDir")
async def _(c):
    sbx, d = await c.folder()
    await c(sbx.files.write(f"{d}/old", "x"))

    async def act():
        await c(sbx.files.write(f"{d}/new", "x"))
        await c(sbx.files.rename(f"{d}/old", f"{d}/newer"))
        await c(sbx.commands.run(f"chmod 600 {d}/new && rm {d}/new"))
    wanted = [("create", "new"), ("write", "new"), ("rename", "old"), ("create", "newer"), ("chmod", "new"), ("remove", "new")]
    await watched(c, sbx, d, wanted, act)
    more = {"on_event": print} if c.is_async else {}
    await c.fails(lambda: sbx.files.watch_dir(f"{d}/none", **more), e2b.NotFoundException, "none")
    await c.fails(lambda: sbx.files.watch_dir(f"{d}/newer", **more), e2b.InvalidArgumentException, "not a directory")


@case("files.watchDir: recursive")
async def _(c):
    sbx, d = await c.folder()
    await c(sbx.files.make_dir(f"{d}/there"))

    async def act():
        await c(sbx.files.write(f"{d}/there/a", "x"))
        await c(sbx.files.make_dir(f"{d}/later"))
        await c.sleep(0.5)
        await c(sbx.files.write(f"{d}/later/b", "x"))
    await watched(c, sbx, d, [("create", "there/a"), ("create", "later"), ("create", "later/b")], act, recursive=True)


@case("files.watchDir: includeEntry")
async def _(c):
    sbx, d = await c.folder()

    async def act():
        await c(sbx.files.write(f"{d}/e", "123"))
    events = await watched(c, sbx, d, [("write", "e")], act, include_entry=True)
    check(any(e.entry and e.entry.path == f"{d}/e" for e in events), events)


@case("files.watchDir: users (field report 7)")
async def _(c):
    sbx = await c.fresh()

    def touch(name):
        async def act():
            await c(sbx.commands.run(f"touch /root/{name}", user="root"))
        return act
    await watched(c, sbx, "/root", [("create", "one")], touch("one"), user="root")
    await watched(c, sbx, "/root", [("create", "two")], touch("two"))
    more = {"on_event": print} if c.is_async else {}
    await c.fails(lambda: sbx.files.watch_dir("/root", user="nobody-such", **more), e2b.AuthenticationException, "nobody-such")


@case("downloadUrl")
async def _(c):
    sbx, d = await c.folder()
    path = f"{d}/a b+c.txt"
    await c(sbx.files.write(path, "signed"))
    url = sbx.download_url(path)
    equal(await c.in_thread(c.request, url), (200, b"signed"), "a plain GET")
    equal((await c.in_thread(c.request, sbx.download_url(path, use_signature_expiration=60)))[0], 200, "one with an expiration")
    status, body = await c.in_thread(c.request, sbx.download_url(path, use_signature_expiration=-10))
    equal(status, 401, "an expired one")
    check(b"expired" in body, body)
    equal((await c.in_thread(c.request, url.replace("signature=v1_", "signature=v1_AAA")))[0], 401, "a forged one")


@case("uploadUrl")
async def _(c):
    sbx, d = await c.folder()
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="u.txt"\r\n\r\nby form\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    url = sbx.upload_url(f"{d}/u.txt", use_signature_expiration=60)
    equal((await c.in_thread(c.request, url, "POST", headers, form))[0], 200, "POST")
    equal(await c(sbx.files.read(f"{d}/u.txt")), "by form", "content")
    late = sbx.upload_url(f"{d}/late", use_signature_expiration=-10)
    equal((await c.in_thread(c.request, late, "POST", headers, form))[0], 401, "an expired one")
    equal((await c.in_thread(c.request, sbx.download_url(f"{d}/u.txt"), "POST", headers, form))[0], 401, "an address for reading")
    equal(await c(sbx.files.exists(f"{d}/late")), False, "nothing written")
