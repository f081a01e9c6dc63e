"""Every command of an E2B client is run by `bash -l -c`: what its start-up files leave behind is where the command begins."""
import pytest

pytestmark = pytest.mark.root


@pytest.mark.parametrize("user", ["user", "root"])
@pytest.mark.parametrize("script", ["bash -l -c exit", "bash -l -c ''", "bash -l -c '(exit)'", "sh -l </dev/null", "bash -l </dev/null"])
def test_a_login_shell_begins_with_status_0(sandbox, user, script):
    done = sandbox.exec(script, user=user)
    assert (done["exit_code"], done["stdout"], done["stderr"]) == (0, "", "")


@pytest.mark.parametrize("user", ["user", "root"])
def test_its_start_up_files_still_work(sandbox, user):
    sandbox.exec("mkdir -p ~/.local/bin; printf '#!/bin/sh\\necho mine\\n' > ~/.local/bin/my-tool; chmod +x ~/.local/bin/my-tool", user=user)
    assert sandbox.exec("bash -l -c my-tool", user=user)["stdout"] == "mine\n"
    assert "alias ll" in sandbox.exec("bash -l -i -c 'alias ll' 2>/dev/null", user=user)["stdout"]
