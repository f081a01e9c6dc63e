"""Runs cases against an unmodified PyPI `e2b` and prints one JSON line per case:
  {"case": "files.read text", "verdict": "yes" | "not served" | "absent" | "no", "detail": "...", "ms": 12}
and at the end {"never_called": [...]}: methods of the SDK's classes that no case tried.

Usage: calls.py sync|async [CASE...]      (no case: all)      calls.py list
The package is found by PYTHONPATH, the server by the SDK's own settings in the environment.
"""
import asyncio
import faulthandler
import importlib.metadata
import json
import sys
import time
import traceback

import cases_commands
import cases_files
import cases_git
import cases_lifecycle
import cases_ports
import cases_pty
import cases_unserved
import e2b
from context import NOT_SERVED, Absent, Context, drive
from record import Recorder

CASES = {}
for module in (cases_lifecycle, cases_commands, cases_files, cases_pty, cases_git, cases_ports, cases_unserved):
    CASES.update(module.CASES)
CASE_S = 150


def report(**line):
    print(json.dumps(line), flush=True)


async def run_case(c, name):
    begin = time.perf_counter()
    verdict, detail = "yes", {}
    try:
        work = CASES[name](c)
        if await (asyncio.wait_for(work, CASE_S) if c.is_async else work) == NOT_SERVED:
            verdict = NOT_SERVED
    except Absent as e:
        verdict, detail = "absent", {"detail": str(e)}
    except Exception as e:  # noqa: BLE001 - whatever it is, it is the verdict
        verdict, detail = "no", {"detail": f"{type(e).__name__}: {e}\n{traceback.format_exc()[-1500:]}"}
    report(case=name, verdict=verdict, ms=round((time.perf_counter() - begin) * 1e3), **detail)


def watch_classes(recorder, c, sbx):
    kind = "Async" if c.is_async else ""
    for name in ("Sandbox", "Volume", "Secret", "Template", "SandboxPaginator", "CommandHandle", "WatchHandle"):
        recorder.watch(getattr(e2b, kind + name), name)
    for name in ("files", "commands", "pty", "git"):
        recorder.watch(type(getattr(sbx, name)), name)


async def run(is_async, chosen):
    c, recorder = Context(is_async), Recorder()
    report(client=f"PyPI e2b {importlib.metadata.version('e2b')} {'async' if is_async else 'sync'}", python=sys.version.split()[0])
    try:
        watch_classes(recorder, c, await c.shared())
        for name in chosen or CASES:
            if not is_async:
                faulthandler.dump_traceback_later(CASE_S, exit=True)
            await run_case(c, name)
        faulthandler.cancel_dump_traceback_later()
    finally:
        report(never_called=recorder.never_used())
        await c.done()


def main():
    mode, *chosen = sys.argv[1:] or ["list"]
    if mode == "list":
        print("\n".join(CASES))
    elif mode == "async":
        asyncio.run(run(True, chosen))
    else:
        drive(run(False, chosen))


main()
