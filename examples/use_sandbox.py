"""A sandbox from Python: made, used, and gone at the end. Run it with the package `sandbox` installed."""
from sandbox import Sandbox

with Sandbox.create(metadata={"purpose": "example"}) as box:
    box.fs.upload_file("print(6 * 7)\n", "/workspace/program.py")
    done = box.process.exec("python3 program.py", timeout=30)
    print(f"{box.state} sandbox on {box.runtime}: exit {done.exit_code}, {done.result.strip()}")
    for entry in box.fs.list_files("/workspace"):
        print(entry.mode, entry.size, entry.name)
