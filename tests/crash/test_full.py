"""Full disks: 503 with a clear log line, nobody unenrolled, and by itself well again."""
import os
import plistlib
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

from testudo import Server, program, run, wait_for

import pg

CHECKIN = {"Content-Type": "application/x-apple-aspen-mdm-checkin"}
MDM = {"Content-Type": "application/x-apple-aspen-mdm; charset=UTF-8"}
TOPIC = "com.apple.mgmt.External.testudo"


def mount(directory, megabytes):
    """A file system of that size in memory; skips the test where that is not allowed."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "none",
                           directory], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise unittest.SkipTest(f"no tmpfs can be mounted: {done.stderr.strip()}")


def fill(directory):
    """Takes every byte that is left."""
    with open(os.path.join(directory, "ballast"), "ab", buffering=0) as f:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    f.write(bytes(size))
            except OSError:
                pass


def free(directory):
    os.unlink(os.path.join(directory, "ballast"))


class Small(Server):
    """Its log and its simulated devices are elsewhere: only what the server keeps is on the disk."""

    def __init__(self, directory, elsewhere, **settings):
        super().__init__(directory, "sqlite", **settings)
        self.elsewhere = elsewhere
        self.log_path = os.path.join(elsewhere, "testudo.log")

    @property
    def pki(self):
        return os.path.join(self.elsewhere, "sim-pki")

    @property
    def fleet_dir(self):
        return os.path.join(self.elsewhere, "fleet")


class Full(unittest.TestCase):
    def setUp(self):
        self.dir, self.elsewhere = tempfile.mkdtemp(prefix="testudo-"), tempfile.mkdtemp()
        self.mounts = []
        self.addCleanup(self.clean)

    def mount(self, directory, megabytes):
        mount(directory, megabytes)
        self.mounts.insert(0, directory)

    def clean(self):
        for directory in self.mounts:
            run("umount", "-l", directory)
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.rmtree(self.elsewhere, ignore_errors=True)

    def start(self):
        self.server = Small(self.dir, self.elsewhere)
        self.server.init()
        self.server.start()
        self.addCleanup(self.stop)

    def stop(self):
        self.server.__exit__(None, None, None)

    def put(self, serial, path, headers, **message):
        server = self.server
        return server.request(server.device, "PUT", path, plistlib.dumps(
            {"UDID": self.udid, **message}), headers, server.tls(self.identity))

    def token_update(self, magic):
        return self.put(self.serial, "/mdm/checkin", CHECKIN, MessageType="TokenUpdate", Topic=TOPIC,
                        PushMagic=magic, Token=b"\1" * 32)

    def enrol(self, serial):
        self.server.fleet(1, None, "--prefix", serial)
        self.serial = f"{serial}0000001"
        self.udid, self.identity = self.server.udid(self.serial), self.server.identity(self.serial)

    def queue(self):
        answer = self.server.api("POST", f"/api/v1/devices/{self.serial}/commands",
                                 {"request_type": "SecurityInfo"})
        return answer.status, answer.json.get("uuid")

    def test_the_database_has_no_room(self):
        self.mount(self.dir, 8)
        self.start()
        self.enrol("FULL")
        acknowledged = [self.queue()[1]]
        fill(self.dir)
        for _ in range(20000):  # the write-ahead log reuses the room that it has
            status, uuid = self.queue()
            if status != 201:
                break
            acknowledged.append(uuid)
            fill(self.dir)
        self.assertEqual(status, 503)
        for _ in range(50):
            answer = self.token_update("m")
            self.assertEqual(answer.status, 503, answer)
            self.assertNotIn(b"com.apple.unrecognized.device", answer.body)
            answer = self.put(self.serial, "/mdm/connect", MDM, Status="Idle")
            self.assertIn(answer.status, (200, 503), answer)
            self.assertEqual(self.queue()[0], 503)
        # what is only read goes on: certificates can be judged
        self.assertEqual(self.server.get(self.server.status, "/readyz").status, 200)
        self.assertEqual(self.server.api("GET", f"/api/v1/devices/{self.serial}").json
                         ["enrollment"]["state"], "enrolled")
        self.assertIn("disk is full", self.server.tail(1000))
        free(self.dir)
        wait_for("it takes writes again", lambda: self.queue()[0] == 201)
        self.assertEqual(self.token_update("m").status, 200)
        self.server.connect("--serial", self.serial)
        for uuid in acknowledged:
            state = self.server.api("GET", f"/api/v1/devices/{self.serial}/commands/{uuid}").json
            self.assertEqual(state["state"], "acknowledged")
        db = sqlite3.connect(f"file:{self.dir}/testudo.db?mode=ro", uri=True)
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        db.close()
        print(f"{len(acknowledged)} commands taken until the disk was full, all there behind it")

    def test_it_dies_on_a_full_disk(self):
        """Killed while the disk is full, started when there is room again."""
        self.mount(self.dir, 8)
        self.start()
        self.enrol("DIES")
        acknowledged = []
        fill(self.dir)
        for _ in range(20000):
            status, uuid = self.queue()
            if status != 201:
                break
            acknowledged.append(uuid)
        self.assertEqual(status, 503)
        self.server.kill()
        free(self.dir)
        self.server.start()
        for uuid in acknowledged:
            state = self.server.api("GET", f"/api/v1/devices/{self.serial}/commands/{uuid}").json
            self.assertEqual(state["state"], "queued")
        self.server.connect("--serial", self.serial)

    @unittest.skipUnless(pg.BIN, "PostgreSQL is not installed")
    def test_postgresql_has_no_room(self):
        """PostgreSQL may end on a full disk (its own log cannot be written): it is started again, as
        its service manager does. The server lives through it."""
        self.mount(self.elsewhere, 80)
        os.chmod(self.elsewhere, 0o755)
        base = os.path.join(self.elsewhere, "pg")
        os.mkdir(base)
        cluster = pg.Cluster(fsync=True, directory=base, min_wal_size="32MB", max_wal_size="32MB")
        self.addCleanup(cluster.remove)
        cluster.init().start()
        self.server = Server(self.dir, store__url=cluster.create_database("testudo"))
        self.server.init()
        self.server.start()
        self.addCleanup(self.stop)
        self.enrol("PGFULL")
        acknowledged = [self.queue()[1]]
        fill(self.elsewhere)
        for _ in range(20000):
            status, uuid = self.queue()
            if status != 201:
                break
            acknowledged.append(uuid)
            fill(self.elsewhere)
        self.assertEqual(status, 503)
        kept, magics = "", [f"magic{i}" for i in range(10)]
        for magic in magics:  # what needs no further page may go on
            answer = self.token_update(magic)
            self.assertIn(answer.status, (200, 503), answer)
            kept = magic if answer.status == 200 else kept
            self.assertIn(self.put(self.serial, "/mdm/connect", MDM, Status="Idle").status, (200, 503))
        free(self.elsewhere)
        ended = cluster.process.poll() is not None
        if ended:
            cluster.start()
        wait_for("it takes writes again", lambda: self.queue()[0] == 201)
        if kept:
            found = cluster.sql(f"SELECT push_magic FROM enrollments WHERE id = '{self.udid}'",
                                "testudo")
            self.assertIn(found, magics[magics.index(kept):])
        self.assertEqual(self.token_update("m").status, 200)
        self.server.connect("--serial", self.serial)
        for uuid in acknowledged:
            state = self.server.api("GET", f"/api/v1/devices/{self.serial}/commands/{uuid}").json
            self.assertEqual(state["state"], "acknowledged")
        print(f"{len(acknowledged)} commands taken until PostgreSQL's disk was full, all there behind "
              f"it; PostgreSQL {'ended' if ended else 'lived'}")

    def test_the_signer_has_no_room_for_its_audit_log(self):
        """No line, no certificate: 503 until there is room; the chain of lines stays whole."""
        self.start()
        self.server.stop()
        ca = os.path.join(self.dir, "ca")
        aside = os.path.join(self.elsewhere, "ca")
        shutil.copytree(ca, aside)
        self.mount(ca, 1)
        for name in os.listdir(aside):
            shutil.copy2(os.path.join(aside, name), ca)
        self.server.start()
        self.enrol("SIGN")
        fill(ca)
        args = [*self.server.sim_args, "--count", "40", "--put-inventory", "--prefix", "NOROOM",
                "--state", self.server.fleet_dir, "--json", "--quiet", "--threads", "4"]
        done = self.server.sim("fleet", *args, check=False)
        self.assertEqual(done.returncode, 1, done.stdout)  # the last block took some lines
        self.assertIn("acme finalize: 503", done.stdout)
        self.assertNotIn("acme finalize: 5", done.stdout.replace("acme finalize: 503", ""))
        self.assertIn("No space left on device", self.server.tail(1000))
        self.assertEqual(self.token_update("m").status, 200)  # what needs no signer goes on
        free(ca)
        summary = self.server.fleet(3, None, "--prefix", "ROOM")
        self.assertEqual((summary["enrolled"], summary["failed"]), (3, 0), summary)
        self.server.stop()
        run(program("testudo-signer"), "audit", "--dir", ca)
        self.server.start()


if __name__ == "__main__":
    unittest.main()
