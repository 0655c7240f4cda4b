"""testudo db: a backup while a fleet enrols, restore, check, and the move to another engine."""
import contextlib
import fcntl
import os
import re
import shutil
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import termios
import threading
import unittest

from testudo import DEADLINE, ENGINE, Server, program, run, wait_for

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import pg  # noqa: E402

FINE, FOUND, USAGE, CANNOT = 0, 1, 2, 3


def db(server, *words, check=True, **settings):
    flags = [f"--{k.replace('__', '-')}={v}" for k, v in settings.items()]
    return run(program("testudo"), "db", *words, f"--config={server.ini}", *flags, check=check,
               timeout=DEADLINE * 2)


def query(path, sql, mode="ro"):
    """The rows; closed at once, as an open connection would count as a user of the file."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode={mode}", uri=True)) as c:
        got = c.execute(sql).fetchall()
        c.commit()
        return got


def rows(path, table):
    return query(path, f"SELECT COUNT(*) FROM {table}")[0][0]


def commands(path):
    return {u for (u,) in query(path, "SELECT uuid FROM commands")}


class Narrow:
    """A pipe with room for so many bytes: who has more to say stands still, until it is killed."""

    def __init__(self, room):
        self.out, self.into = os.pipe()
        size = os.sysconf("SC_PAGE_SIZE")
        assert fcntl.fcntl(self.into, fcntl.F_SETPIPE_SZ, size) == size
        self.filler = os.write(self.into, bytes(size - room))

    def said(self):
        """How many bytes."""
        waiting = fcntl.ioctl(self.out, termios.FIONREAD, bytes(4))
        return struct.unpack("i", waiting)[0] - self.filler

    def close(self):
        os.close(self.out)
        os.close(self.into)


@unittest.skipIf(ENGINE == "pg", "the run on SQLite has both engines in it")
class Db(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(engine="sqlite")
        cls.server.init()
        cls.server.start()
        cls.server.fleet(3, None, "--prefix", "DBA")

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def path(self, name):
        return os.path.join(self.server.dir, name)

    @property
    def database(self):
        return self.path("testudo.db")

    def up(self):
        if not self.server.process:
            self.server.start()

    def test_backup_while_a_fleet_enrols(self):
        """Everything acknowledged before the backup began is in it, and it breaks no rule."""
        self.up()
        failed = []

        def enrol():
            try:
                self.server.fleet(12, None, "--prefix", "DBB")
            except AssertionError as e:
                failed.append(e)

        fleet = threading.Thread(target=enrol)
        fleet.start()
        acknowledged, taken = [], 0
        serial = self.server.api("GET", "/api/v1/devices?limit=1").json["devices"][0]["serial"]
        while fleet.is_alive() or taken == 0:
            acknowledged += [self.server.command(serial, request_type="SecurityInfo")
                             for _ in range(3)]
            enrolled = rows(self.database, "enrollments")
            file = self.path(f"backup-{taken}.db")
            done = db(self.server, "backup", file)
            self.assertIn("whole and checked", done.stdout)
            self.assertEqual(stat.S_IMODE(os.stat(file).st_mode), 0o600)
            self.assertEqual(set(acknowledged) - commands(file), set())
            self.assertGreaterEqual(rows(file, "enrollments"), enrolled)
            done = db(self.server, "check", store__url=f"sqlite:{file}")
            self.assertIn("all of them hold", done.stdout)
            taken += 1
        fleet.join()
        self.assertEqual(failed, [])
        self.assertEqual([f for f in os.listdir(self.server.dir) if f.endswith(".partial")], [])

    def test_check_while_serving(self):
        self.up()
        self.assertIn("all of them hold", db(self.server, "check").stdout)

    def test_check_finds(self):
        self.up()
        file = self.path("broken.db")
        db(self.server, "backup", file)
        query(file, "INSERT INTO push_outbox (enrollment_id, requested_at) VALUES ('nobody', 1)",
              "rw")
        query(file, "UPDATE certificates SET revoked_at = 7 WHERE status = 0", "rw")
        done = db(self.server, "check", check=False, store__url=f"sqlite:{file}")
        self.assertEqual(done.returncode, FOUND)
        self.assertIn("push-of-nobody: nobody", done.stdout)
        self.assertIn("good-but-revoked", done.stdout)
        self.assertIn("not all of them hold", done.stdout)

    def test_two_servers_on_one_file(self):
        self.up()
        ca = self.path("other-ca")  # testudo-signer refuses a second one in its directory too
        shutil.copytree(self.path("ca"), ca)
        done = run(program("testudo"), "serve", f"--config={self.server.ini}", f"--ca-dir={ca}",
                   "--public-address=127.0.0.1:0", "--device-address=127.0.0.1:0",
                   "--status-address=127.0.0.1:0", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"process {self.server.process.pid} serves", done.stderr)
        self.assertTrue(self.server.ready())
        # words that only add a row are welcome beside the server
        token = run(program("testudo"), "token", "create", "beside", "devices:read",
                    f"--config={self.server.ini}").stdout
        self.assertRegex(token, "^td_")

    def test_restore(self):
        """Back to the backup: what came later is gone from the server and kept beside it."""
        self.up()
        serial = self.server.api("GET", "/api/v1/devices?limit=1").json["devices"][0]["serial"]
        file = self.path("restore.db")
        before = self.server.command(serial, request_type="SecurityInfo")
        db(self.server, "backup", file)
        after = self.server.command(serial, request_type="SecurityInfo")
        done = db(self.server, "restore", file, "--force", check=False)
        self.assertEqual(done.returncode, CANNOT)
        self.assertIn(f"process {self.server.process.pid} serves", done.stderr)
        self.server.kill()
        done = db(self.server, "restore", file, check=False)
        self.assertEqual(done.returncode, CANNOT)
        self.assertIn("--force", done.stderr)
        done = db(self.server, "restore", file, "--force")
        kept = re.search(r"the database that was there is (\S+)", done.stdout).group(1)
        self.server.start()
        path = f"/api/v1/devices/{serial}/commands/"
        self.assertEqual(self.server.api("GET", path + before).status, 200)
        self.assertEqual(self.server.api("GET", path + after).status, 404)
        self.assertIn(after, commands(kept))
        self.server.connect("--serial", serial)
        self.assertEqual(self.server.api("GET", path + before).json["state"], "acknowledged")

    def test_bad_input(self):
        self.up()
        junk = self.path("junk")
        with open(junk, "wb") as f:
            f.write(b"junk" * 5000)
        foreign = self.path("foreign.db")
        query(foreign, "CREATE TABLE IF NOT EXISTS theirs (a)", "rwc")
        cases = (
            (("backup",), USAGE, "db backup FILE"),
            (("restore",), USAGE, "db restore FILE"),
            (("check", "what"), USAGE, "db check"),
            (("check", "--force"), USAGE, "db check"),
            (("migrate",), USAGE, "--to URL"),
            (("migrate", "x", "--to", "y"), USAGE, "--to URL"),
            (("backup", "a", "b"), USAGE, "db backup FILE"),
            ((), USAGE, "db check"),
            (("vacuum",), USAGE, "db check"),
            (("backup", self.server.dir), CANNOT, "not a file"),
            (("backup", "/nonexistent-td/x"), CANNOT, "No such file"),
            (("backup", self.database, "--force"), CANNOT, "the database itself"),
            (("restore", "/nonexistent-td/x", "--force"), CANNOT, "No such file"),
            (("restore", junk, "--force"), CANNOT, "damaged or not a database"),
            (("restore", foreign, "--force"), CANNOT, "another program"),
            (("migrate", "--to", "mysql://x"), CANNOT, "no storage engine"),
            (("migrate", "--to", f"sqlite:{foreign}", "--snapshot"), CANNOT, "another program"),
            (("migrate", "--to", f"sqlite:{self.database}", "--snapshot"), CANNOT, "serves"),
            (("check", "--store-nonsense=1"), CANNOT, "nonsense"),
            *((("check", f"--store-answer_timeout={v}"), CANNOT, "answer_timeout")
              for v in ("1s", "601s", "0", "-5", "soon", "")),
        )
        for words, status, text in cases:
            with self.subTest(words):
                done = db(self.server, *words, check=False)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertIn(text, done.stderr)
        self.assertTrue(self.server.ready())

    def test_interrupted_backup_leaves_nothing(self):
        self.up()
        file = self.path("interrupted.db")
        process = subprocess.Popen([program("testudo"), "db", "backup", file,
                                    f"--config={self.server.ini}"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE)
        if process.returncode != 0:
            self.assertFalse(os.path.exists(file))
        if process.returncode >= 0:  # not killed before it could listen to signals
            self.assertEqual([f for f in os.listdir(self.server.dir) if "interrupted" in f and
                              f.endswith(".partial")], [])

    # --- the move ---

    def migrate(self, url, *words, check=True):
        return db(self.server, "migrate", "--to", url, *words, check=check)

    def test_migrate_needs_a_stopped_server(self):
        self.up()
        target = self.path("moved.db")
        done = self.migrate(f"sqlite:{target}", check=False)
        self.assertEqual(done.returncode, CANNOT)
        self.assertIn("serves", done.stderr)
        self.assertFalse(os.path.exists(target))
        done = self.migrate(f"sqlite:{target}", "--snapshot")
        self.assertIn("every table is the same", done.stdout)
        self.assertEqual(rows(target, "enrollments"), rows(self.database, "enrollments"))
        done = self.migrate(f"sqlite:{target}", "--snapshot", check=False)
        self.assertEqual(done.returncode, CANNOT)
        self.assertIn("data of its own", done.stderr)

    def test_migrate_killed_and_resumed(self):
        """Killed again and again, the copy goes on; nobody can serve it until it is whole."""
        self.up()
        self.server.stop()
        target = self.path("resumed.db")
        url = f"sqlite:{target}"
        argv = [program("testudo"), "db", "migrate", "--to", url, f"--config={self.server.ini}"]
        for room in (100, 500, 1500):  # of its lines, one for each table that is copied or compared
            pipe = Narrow(room)
            self.addCleanup(pipe.close)
            process = subprocess.Popen(argv, stdout=pipe.into, stderr=subprocess.DEVNULL)
            wait_for("a table is copied", pipe.said)
            process.kill()
            self.assertEqual(process.wait(DEADLINE), -signal.SIGKILL)
            done = db(self.server, "check", check=False, store__url=url)
            self.assertEqual(done.returncode, CANNOT, done.stdout)
            self.assertIn("unfinished copy", done.stderr)
            done = run(program("testudo"), "serve", f"--config={self.server.ini}",
                       f"--store-url={url}", check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("unfinished copy", done.stderr)
        self.assertIn("every table is the same", self.migrate(url).stdout)
        for table in ("enrollments", "commands", "certificates", "audit"):
            self.assertEqual(rows(target, table), rows(self.database, table))
        self.assertIn("all of them hold", db(self.server, "check", store__url=url).stdout)

    @unittest.skipUnless(pg.BIN, "PostgreSQL 15 is not installed")
    def test_to_postgres_and_back(self):
        """The fleet moves to PostgreSQL, is served there, and a backup of it comes back as a file."""
        self.up()
        self.server.stop()
        cluster = pg.shared()
        cluster.create_database("moved")
        url = cluster.url("moved")
        done = self.migrate(url)
        self.assertIn("every table is the same on both sides", done.stdout)
        sums = dict(re.findall(r"the same +(\w+) +\d+ rows, sha256 (\w+)", done.stdout))
        self.assertIn("enrollments", sums)
        self.assertIn("all of them hold", db(self.server, "check", store__url=url).stdout)
        # the same digests on the way back, into a file that is a database of testudo
        file = self.path("from-pg.db")
        back = db(self.server, "backup", file, store__url=url)
        self.assertEqual(dict(re.findall(r"the same +(\w+) +\d+ rows, sha256 (\w+)", back.stdout)),
                         sums)
        self.assertIn("all of them hold", db(self.server, "check", store__url=f"sqlite:{file}").stdout)
        done = db(self.server, "restore", file, "--force", check=False, store__url=url)
        self.assertEqual(done.returncode, CANNOT)
        self.assertIn("data of its own", done.stderr)
        cluster.create_database("restored")
        db(self.server, "restore", file, store__url=cluster.url("restored"))
        # served from there: old devices connect, new ones enrol (the keys go on behind the old)
        with open(self.server.ini, encoding="utf-8") as f:
            ini = f.read()
        try:
            with open(self.server.ini, "w", encoding="utf-8") as f:
                f.write(re.sub(r"(?m)^url = sqlite:.*$", f"url = {cluster.url('restored')}", ini))
            self.server.start()
            serial = self.server.api("GET", "/api/v1/devices?limit=1").json["devices"][0]["serial"]
            uuid = self.server.command(serial, request_type="SecurityInfo")
            self.server.connect("--serial", serial)
            state = self.server.api("GET", f"/api/v1/devices/{serial}/commands/{uuid}").json["state"]
            self.assertEqual(state, "acknowledged")
            self.assertEqual(self.server.fleet(1, None, "--prefix", "DBP")["enrolled"], 1)
            # a backup of a database that is served
            db(self.server, "backup", self.path("served-pg.db"))
            # a move needs it to stand still, unless it is a rehearsal
            back = f"sqlite:{self.path('back.db')}"
            done = self.migrate(back, check=False)
            self.assertEqual(done.returncode, CANNOT)
            self.assertIn("stop every node", done.stderr)
            self.assertFalse(os.path.exists(self.path("back.db")))
            self.assertTrue(self.server.ready())
            self.assertIn("every table is the same", self.migrate(back, "--snapshot").stdout)
        finally:
            self.server.stop()
            with open(self.server.ini, "w", encoding="utf-8") as f:
                f.write(ini)
        self.assertIn("all of them hold", db(self.server, "check",
                                             store__url=f"sqlite:{self.path('served-pg.db')}").stdout)


if __name__ == "__main__":
    unittest.main()
