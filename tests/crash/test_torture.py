"""SIGKILL at random points under load, on both engines: what was acknowledged is there, once.

TESTUDO_CRASH_KILLS: how many kills on each engine. TESTUDO_CRASH_SEED: of the points; printed.
A check looks up all that was acknowledged since the last one, so also through the kills between."""
import os
import random
import signal
import sqlite3
import subprocess
import time
import unittest

from testudo import Server, program, run, wait_for

import pg
from load import Load

KILLS = int(os.environ.get("TESTUDO_CRASH_KILLS", "0"))
SEED = int(os.environ.get("TESTUDO_CRASH_SEED", str(time.time_ns() % 1000000)))
MOST = 120  # acknowledgements until a kill


class Torture:
    """A server and its load; what one engine has of its own is in the classes below."""

    kills, check_every = 200, 1

    def open(self):
        raise NotImplementedError

    def query(self, sql):
        raise NotImplementedError

    def integrity(self, last):
        raise NotImplementedError

    def crash_database(self):
        """Kills the database itself, where it is a process of its own."""

    def setUp(self):
        self.rng = random.Random(SEED)
        self.server = Server(**self.open())
        self.server.init()
        self.server.start()
        self.load = Load(self.server, SEED)
        self.times = []

    def spawn(self):
        self.server.process = subprocess.Popen(
            [program("testudo"), "serve", f"--config={self.server.ini}"],
            stdin=subprocess.DEVNULL, stdout=self.server.log, stderr=self.server.log)

    def pause(self, most):
        """Some way into whatever runs now: a point between two events, not a wait for one."""
        until = time.perf_counter() + self.rng.random() * most
        while time.perf_counter() < until:
            pass

    def kill(self):
        assert self.server.process.poll() is None, self.server.tail()
        self.server.process.send_signal(signal.SIGKILL)
        self.server.process.wait(30)

    def round(self, i):
        """A kill, at times one more while it starts, and the check behind it."""
        kills = 1
        self.load.wait(self.rng.randint(1, MOST))
        self.pause(0.003)
        if self.rng.random() < 0.2 and self.crash_database():
            pass
        else:
            self.kill()
            self.spawn()
            while self.rng.random() < 0.12:
                self.pause(0.06)
                self.kill()
                self.spawn()
                kills += 1
        started = time.perf_counter()
        self.load.wait(1)
        self.times.append(time.perf_counter() - started)
        if i % self.check_every == 0:
            self.checked += self.load.check(self.query)
            self.integrity(False)
        return kills

    def test_kill(self):
        print(f"seed {SEED}: TESTUDO_CRASH_SEED={SEED} draws the same points")
        kills = self.checked = 0
        began = time.monotonic()
        self.load.start()
        while kills < (KILLS or self.kills):
            kills += self.round(kills)
        took = time.monotonic() - began
        wait_for("ready", self.server.ready)
        self.load.wait(100)
        summary = self.load.stop()
        self.checked += self.load.check(self.query)
        self.load.final(self.query)
        self.integrity(True)
        run(program("testudo"), "db", "check", f"--config={self.server.ini}")
        run(program("testudo-signer"), "audit", "--dir",
            os.path.join(self.server.dir, "ca"))
        self.times.sort()
        kinds = ", ".join(f"{v} {k}" for k, v in sorted(self.load.count.items()))
        print(f"{kills} kills in {took:.1f} s, {self.checked} acknowledged things found: {kinds}; "
              f"{summary['begun_anew']} enrolments begun anew; from the start to the first answer "
              f"{self.times[len(self.times) // 2] * 1000:.0f} ms (median), "
              f"{self.times[-1] * 1000:.0f} ms (most)")
        self.assertFalse([s for s in self.load.away if s != 503], self.load.away)

    def tearDown(self):
        self.load.stopping.set()
        if self.load.simulator:
            self.load.simulator.kill()
            self.load.simulator.stdout.close()
        for t in self.load.threads:
            t.join(30)
        result = self._outcome.result
        trouble = any(t is self for t, _ in result.failures + result.errors)
        self.server.__exit__(AssertionError if trouble else None, None, None)


class Sqlite(Torture, unittest.TestCase):
    check_every = 2

    def open(self):
        return {"engine": "sqlite"}

    def query(self, sql):
        db = sqlite3.connect(f"file:{self.server.dir}/testudo.db?mode=ro", uri=True, timeout=30)
        try:
            return db.execute(sql.replace("@hex@", "hex(serial)")).fetchall()
        finally:
            db.close()

    def integrity(self, last):
        self.assertEqual(self.query("PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(self.query("PRAGMA foreign_key_check"), [])


@unittest.skipUnless(pg.BIN, "PostgreSQL is not installed")
class Postgres(Torture, unittest.TestCase):
    """Every fifth kill is of PostgreSQL itself, with fsync on; the server lives and waits."""

    kills, check_every = 120, 4

    def open(self):
        self.cluster = pg.Cluster(fsync=True).init().start()
        self.addCleanup(self.cluster.remove)
        return {"store__url": self.cluster.create_database("testudo")}

    def query(self, sql):
        rows = self.cluster.sql(sql.replace("@hex@", "encode(serial, 'hex')"), "testudo")
        return [tuple(int(v) if v.isdigit() and len(v) == 1 else v for v in row.split("|"))
                for row in rows.splitlines()]

    def integrity(self, last):
        if last:
            self.cluster.sql("CREATE EXTENSION IF NOT EXISTS amcheck", "testudo")
            self.cluster.run("pg_amcheck", "-h", self.cluster.dir, "-U", "postgres",
                             "--heapallindexed", "testudo")

    def crash_database(self):
        self.cluster.kill()
        self.cluster.start()
        return True


if __name__ == "__main__":
    unittest.main()
