"""Leaves a sandbox paused and comes back to it by its id, as another process would."""
from e2b import Sandbox

sandbox = Sandbox.create(timeout=300)
counter = sandbox.commands.run("for i in $(seq 1000); do echo $i >count; sleep 0.05; done", background=True)
sandbox.files.write("notes.txt", "half done")
sandbox.pause()
print("paused:", not sandbox.is_running())

again = Sandbox.connect(sandbox.sandbox_id)
print("notes:", again.files.read("notes.txt"))
print("still counting:", any(p.pid == counter.pid for p in again.commands.list()))
print("killed:", again.kill(), again.kill())
