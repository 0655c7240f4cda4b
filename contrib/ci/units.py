#!/usr/bin/env python3
"""Runs the cmocka programs of one label, two at a time, and sums their tests.

The tests of label `unit` get TD_TEST_PG: the URL of a PostgreSQL cluster that lives for the run; a
database's name goes in behind its third slash. Without PostgreSQL it is not set. Those of rooms that
use the store run once more with TD_TEST_ENGINE=pg, and with TD_TEST_TWICE, so that each write job runs
twice, as after a lost race.

usage: units.py BUILD_DIR LABEL"""
import concurrent.futures
import json
import os
import re
import subprocess
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/lib"))
import pg  # noqa: E402

build, label = sys.argv[1:3]
if label == "unit":
    if pg.BIN:
        os.environ["TD_TEST_PG"] = pg.shared().url()
    else:
        print("SKIP: PostgreSQL 15 is not installed: its tests are left out")
listing = json.loads(subprocess.run(
    ["ctest", "--test-dir", build, "--show-only=json-v1", "-L", f"^{label}$"],
    check=True, capture_output=True, text=True).stdout)
tests = [t for t in listing["tests"] if "command" in t]
STORE_ROOMS = r"test_(store|core|inventory|posture|ca|acme|auth|api|enroll|device|clean|hook)_"
if "TD_TEST_PG" in os.environ:
    tests += [{**t, "name": t["name"] + " on PostgreSQL", "engine": "pg"} for t in tests
              if re.match(STORE_ROOMS, t["name"])]


def count(pattern, text):
    found = re.findall(pattern, text, re.M)
    return int(found[-1]) if found else 0


def run(test):
    properties = {p["name"]: p["value"] for p in test.get("properties", [])}
    try:
        done = subprocess.run(test["command"], capture_output=True, text=True, errors="replace",
                              timeout=properties.get("TIMEOUT", 120), stdin=subprocess.DEVNULL,
                              env={**os.environ, "TD_TEST_ENGINE": test.get("engine", "sqlite"),
                                   **({"TD_TEST_TWICE": "1"} if "engine" in test else {})},
                              cwd=properties.get("WORKING_DIRECTORY", build))
        return test["name"], done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        return test["name"], -1, f"timed out after {late.timeout} s\n{late.stdout or b''}"


passed = failed = skipped = 0
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for name, status, output in pool.map(run, tests):
        ran = count(r"^\[==========\] .*?(\d+) test\(s\) run", output)
        ok = count(r"^\[  PASSED  \] (\d+) test", output)
        skip = count(r"^\[  SKIPPED \].*?(\d+) test", output)
        bad = max(ran - ok - skip, 0)
        if status != 0 and bad == 0:
            bad = 1  # crashed, leaked or printed nothing
        elif ran == 0:
            ok = 1  # a program of its own kind, judged by its status
        if bad:
            print(f"FAILED {name} (status {status})")
            print("\n".join(output.splitlines()[-60:]))
        for line in re.findall(r"^SKIP: .*$", output, re.M):
            print(f"{name}: {line}")
        passed, failed, skipped = passed + ok, failed + bad, skipped + skip
print(f"{len(tests)} programs")
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(failed > 0 or not tests)
