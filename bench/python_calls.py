"""python_calls URL SANDBOX N exec|list - calls of the package `sandbox` one after another: one JSON line, in microseconds."""
import json
import statistics
import sys
import time

from sandbox import Sandbox, configure


def main():
    client, n = configure(url=sys.argv[1]), int(sys.argv[3])
    box = Sandbox.get(sys.argv[2])
    call = {"exec": lambda: box.process.exec(["/usr/bin/true"]), "list": Sandbox.list}[sys.argv[4]]
    samples = []
    for _ in range(n):
        begin = time.perf_counter()
        got = call()
        samples.append((time.perf_counter() - begin) * 1e6)
    print(json.dumps({"n": n, "p50_us": statistics.median(samples), "found": len(got) if isinstance(got, list) else 1, "url": client.url}))


main()
