"""Programs that use the SDKs as applications do, beyond single calls: each test is one that somebody could have written."""
import pytest
from packages import SDK
from test_field_reports import javascript, locked  # noqa: F401 (fixtures)

pytestmark = pytest.mark.root
SHARED_MEMORY = """
import { Sandbox } from 'e2b'
const sandbox = await Sandbox.create()
await sandbox.commands.run('head -c 2G /dev/zero > /dev/shm/full; true')
try {
  await sandbox.files.write('/dev/shm/more', new Blob([new Uint8Array(100 << 20)]))
  console.log('written')
} catch (e) {
  console.log(e.constructor.name)
}
console.log((await sandbox.commands.run('rm /dev/shm/full && echo alive')).stdout.trim())
await sandbox.kill()
"""


def test_an_upload_into_full_shared_memory_is_refused_and_the_sandbox_goes_on(daemon, javascript):  # noqa: F811
    assert javascript(daemon, SHARED_MEMORY) == ["NotEnoughSpaceError", "alive"]


def test_the_sdk_in_a_page_of_another_origin(locked, javascript):  # noqa: F811
    """With keys pages may call; the program checks what a browser checks, preflights and readable fields among it."""
    daemon, key = locked
    assert javascript(daemon, (SDK / "js" / "page.mjs").read_text(), E2B_API_KEY=key) == [
        "run hi", "read kept kept", "more true 1", "errors FileNotFoundError CommandExitError SandboxNotFoundError", "key AuthenticationError",
        "paused SandboxNotFoundError", "again kept", "killed true true false"]
