#!/usr/bin/env python3
"""Runs every fuzz target for a while on its corpus; a crash leaves its input beside the build.

usage: fuzz.py BUILD_DIR SECONDS

With CI set the random seed is fixed, so that a change is judged by its own doing and not by luck;
elsewhere each run looks at other inputs."""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile

build, seconds = sys.argv[1], int(sys.argv[2])
top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
targets = sorted(glob.glob(os.path.join(build, "bin", "fuzz_*")))


def run(target):
    name = os.path.basename(target)
    corpus = os.path.join(top, "tests/fuzz/corpus", name.removeprefix("fuzz_"))
    with tempfile.TemporaryDirectory() as scratch:
        command = [target, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
                   "-max_len=65536", f"-artifact_prefix={build}/{name}-", scratch]
        command += ["-seed=1"] if os.environ.get("CI") else []
        command += [corpus] if os.path.isdir(corpus) else []
        done = subprocess.run(command, capture_output=True, text=True, errors="replace",
                              stdin=subprocess.DEVNULL)
    runs = re.findall(r"^#(\d+)\s+DONE", done.stderr, re.M)
    return name, done.returncode, runs[-1] if runs else "0", done.stderr


failed = 0
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for name, status, runs, output in pool.map(run, targets):
        print(f"{'ok    ' if status == 0 else 'FAILED'} {name:24} {runs} inputs")
        if status != 0:
            failed += 1
            print("\n".join(output.splitlines()[-40:]))
print(f"{len(targets) - failed} passed, {failed} failed, 0 skipped")
sys.exit(failed > 0 or not targets)
