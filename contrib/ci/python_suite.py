#!/usr/bin/env python3
"""Runs the Python tests of a folder against the programs of a build.

usage: python_suite.py FOLDER BIN_DIR [FILE ...]"""
import os
import sys
import time
import unittest

folder, binaries = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
os.environ["TESTUDO_BIN"] = binaries
top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [folder, os.path.join(top, "tests/e2e"), os.path.join(top, "tests/lib")]
loader = unittest.TestLoader()
names = sys.argv[3:] or sorted(f for f in os.listdir(folder)
                               if f.startswith("test_") and f.endswith(".py"))
suite = loader.loadTestsFromNames([n.removesuffix(".py") for n in names])


class Result(unittest.TestResult):
    """One line a test, the trouble at once."""

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def line(self, word, test):
        took = time.monotonic() - getattr(self, "began", time.monotonic())
        print(f"{word:7} {test.id()} ({took:.1f} s)", flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.line("ok", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line("skipped", test)
        print(f"        {reason}")

    def trouble(self, test, text):
        self.line("FAILED", test)
        print(text, flush=True)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.trouble(subtest, (self.failures + self.errors)[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self.trouble(test, self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.trouble(test, self.failures[-1][1])


result = Result()
suite.run(result)
# a test with several failed subtests counts once
failed = len({getattr(t, "test_case", t).id() for t, _ in result.errors + result.failures})
skipped = len(result.skipped)
print(f"{max(result.testsRun - failed - skipped, 0)} passed, {failed} failed, {skipped} skipped")
sys.exit(failed > 0 or result.testsRun == 0)
