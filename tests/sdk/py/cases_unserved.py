"""Calls that this server does not serve: the SDK must say so in its own way, at once, and nothing may come of it."""
import e2b
from context import NOT_SERVED, check, equal

NONE = "i00000000000000000000"
CASES = {}


def case(name):
    return lambda fn: CASES.setdefault(name, fn)


def kind_of(c, name):
    return getattr(e2b, ("Async" if c.is_async else "") + name)


@case("fork")
async def _(c):
    sbx = await c.shared()
    return await c.not_served(sbx.fork, e2b.SandboxException)


@case("createSnapshot")
async def _(c):
    sbx = await c.shared()
    return await c.not_served(sbx.create_snapshot, e2b.SandboxException)


@case("listSnapshots")
async def _(c):
    sbx = await c.shared()
    await c.not_served(lambda: c.Sandbox.list_snapshots().next_items(), e2b.SandboxException)
    return await c.not_served(lambda: sbx.list_snapshots().next_items(), e2b.SandboxException)


@case("deleteSnapshot")
async def _(c):
    return await c.not_served(lambda: c.Sandbox.delete_snapshot("none:default"), e2b.SandboxException)


@case("updateNetwork")
async def _(c):
    sbx = await c.shared()
    return await c.not_served(lambda: sbx.update_network({"deny_out": ["0.0.0.0/0"]}), e2b.SandboxException)


@case("getMcpUrl and getMcpToken")
async def _(c):
    sbx = await c.shared()
    equal(sbx.get_mcp_url(), f"https://{sbx.get_host(50005)}/mcp", "address")
    await c.fails(sbx.get_mcp_token, e2b.NotFoundException)
    return NOT_SERVED


@case("Template.build")
async def _(c):
    kind = kind_of(c, "Template")
    template = kind().from_image("debian:12").run_cmd("true")
    check("RUN true" in kind.to_dockerfile(template), "to_dockerfile() is the client alone")
    check("debian:12" in kind.to_json(template), "to_json() as well")
    await c.not_served(lambda: kind.build(template, "sandmux-test"))
    made = e2b.BuildInfo(template_id=NONE, build_id="00000000-0000-4000-8000-000000000000", alias="none", name="none", tags=[])
    await c.not_served(lambda: kind.get_build_status(made))
    return await c.not_served(lambda: kind.build_in_background(template, "sandmux-test"))


@case("Template.exists")
async def _(c):
    kind = kind_of(c, "Template")
    equal(await c(kind.exists("base")), True, "base")
    equal(await c(kind.alias_exists("base")), True, "base, by the old name of the call")
    equal(await c(kind.exists("no-such-template")), False, "none")


@case("Template.assignTags, removeTags, getTags")
async def _(c):
    kind = kind_of(c, "Template")
    await c.not_served(lambda: kind.assign_tags("base:default", "mine"))
    await c.not_served(lambda: kind.remove_tags("base", "mine"))
    return await c.not_served(lambda: kind.get_tags("base"))


@case("Volume")
async def _(c):
    kind = kind_of(c, "Volume")
    await c.not_served(lambda: kind.create("mine"), e2b.VolumeException)
    await c.not_served(kind.list, e2b.VolumeException)
    await c.not_served(lambda: kind.get_info(NONE))
    await c.not_served(lambda: kind.connect(NONE))
    return await c.not_served(lambda: kind.destroy(NONE))


@case("Secret")
async def _(c):
    kind = kind_of(c, "Secret")
    await c.not_served(lambda: kind.create("mine", "value"))
    await c.not_served(lambda: kind.update("mine", "value"))
    await c.not_served(lambda: kind.list().next_items())
    await c.not_served(lambda: kind.get_info("mine"))
    await c.not_served(lambda: kind.exists("mine"))
    check("mine" in kind.fill("mine"), "fill() is the client alone")
    kind.iam_token(audience="a", token_type="JWT-SVID")
    return await c.not_served(lambda: kind.destroy("mine"))
