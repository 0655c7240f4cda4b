"""Two nodes on one PostgreSQL renew certificates: each once, whichever node is killed, and of two
successors of one certificate one lives."""
import contextlib
import hashlib
import os
import plistlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from test_acme import Base, openssl
from test_nodes import another
from testudo import PgDatabase, Server, wait_for

import pg

MANY = 250    # so many due certificates take both nodes, which look at them together
COUNT = 40    # devices whose certificates are due at one time
# What another session holds, and of which device: a node waits with its claim, or behind the claim
# and the command with the push.
CLAIM = "UPDATE certificates SET renew_tries = 0 WHERE serial = '\\x{certificate}'"
PUSH = "INSERT INTO push_outbox (enrollment_id, requested_at) VALUES ('{enrollment}', 1)"
KILLS = ((CLAIM, COUNT // 2), (PUSH, COUNT - 1), (PUSH, 1))
RACES = 8
MDM = "application/x-apple-aspen-mdm"
TOPIC = "com.apple.mgmt.External.testudo"


@unittest.skipUnless(pg.BIN, "PostgreSQL is not installed")
class Renewal(Base):
    @classmethod
    def setUpClass(cls):
        cls.url = pg.shared().create_database("renewal")
        settings = {"store-url": cls.url, "renewal-period": "1", "renewal-retry": "1d"}
        cls.server = Server(**settings).init()
        cls.nodes = [cls.server, another(cls.server, settings)]
        for i, node in enumerate(cls.nodes):
            with open(node.ini, encoding="utf-8") as f:
                text = f.read()
            assert cls.url in text
            with open(node.ini, "w", encoding="utf-8") as f:
                f.write(text.replace(cls.url, f"{cls.url}&application_name=node{i}"))
        cls.tmp = tempfile.mkdtemp(prefix="testudo-renewal-")
        for node in cls.nodes:
            node.start()

    @classmethod
    def tearDownClass(cls):
        for node in cls.nodes:
            node.__exit__(None, None, None)
        shutil.rmtree(cls.tmp, ignore_errors=True)
        pg.shared().drop_database("renewal")

    def sql(self, sql, values=()):
        return PgDatabase(self.url).execute(sql, values).fetchall()

    def log(self, since=(0, 0)):
        """What the nodes logged behind those places."""
        text = ""
        for node, at in zip(self.nodes, since):
            with open(node.log_path, "rb") as f:
                text += f.read()[at:].decode("utf-8", "replace")
        return text

    def log_ends(self):
        return [os.path.getsize(node.log_path) for node in self.nodes]

    def make_due(self, prefix, ago=0):
        self.sql("UPDATE certificates SET renew_at = ?, renew_tries = 0 WHERE status = 0 AND "
                 "purpose = 'management' AND device_serial LIKE ?",
                 (int(time.time()) - ago, prefix + "%"))

    def rows(self, prefix):
        """Of each certificate that counts: device, tries, commands that wait for the device,
        identifiers that renew it, pushes that are wanted."""
        return self.sql(
            "SELECT c.device_serial, c.renew_tries, (SELECT count(*) FROM commands m WHERE "
            "m.enrollment_id = e.id AND m.created_by = 'renewal' AND m.state = 'queued') AS queued, "
            "(SELECT count(*) FROM client_ids i WHERE i.renews = c.serial) AS ids, e.id "
            "FROM certificates c JOIN enrollments e ON e.cert_sha256 = c.sha256 WHERE "
            "c.purpose = 'management' AND c.status = 0 AND c.device_serial LIKE ? "
            "ORDER BY c.device_serial", (prefix + "%",))

    def one_each(self, prefix, count):
        """Waits until every certificate was taken; each was exactly once."""
        wait_for("every renewal is claimed",
                 lambda: all(tries for _, tries, _, _, _ in self.rows(prefix)))
        rows = self.rows(prefix)
        self.assertEqual(len(rows), count)
        self.assertEqual({row[1:4] for row in rows}, {(1, 1, 1)}, rows)
        return rows

    def pushed(self, rows, since):
        """Waits until each device was pushed; a push that a dead node had taken is sent by the other
        behind its lease of two minutes."""
        wait_for("every push", lambda: {row[4] for row in rows} <=
                 set(re.findall(r"push\.recorded enrollment=(\S+)", self.log(since))), 180)

    def finish(self, prefix, count):
        """The devices fetch their profiles; each has one good identity then, a new one."""
        before = self.good(prefix)
        self.connect()
        after = self.good(prefix)
        self.assertEqual(len(after), count)
        self.assertEqual(after & before, set())
        self.connect()  # and speaks with it

    def connect(self):
        self.server.connect("--all", "--pki", self.server.pki)

    def good(self, prefix):
        """The good certificates; each device has one."""
        found = self.sql("SELECT device_serial, serial FROM certificates WHERE status = 0 AND purpose "
                         "= 'management' AND device_serial LIKE ?", (prefix + "%",))
        self.assertEqual(len(found), len({serial for serial, _ in found}), found)
        return {number for _, number in found}

    def said(self, since, last):
        found = re.findall(r"renew\.pushed serial=(RN1\d+)", self.log(since))
        return sorted(serial for serial in found if serial != last)

    def test_1_each_is_renewed_once(self):
        self.server.fleet(MANY + 1, None, "--prefix", "RN1")
        last = f"RN1{MANY + 1:07}"
        for _ in range(3):
            since = self.log_ends()
            self.sql("DELETE FROM client_ids WHERE renews IS NOT NULL")
            self.make_due("RN1")
            self.one_each("RN1", MANY + 1)
            for _ in range(4):  # both nodes look again, and see nothing but this one
                self.sql("UPDATE certificates SET renew_at = ?, renew_tries = 0 WHERE "
                         "device_serial = ?", (int(time.time()), last))
                wait_for("another look", lambda: [r for r in self.rows(last) if r[1]])
            rows = [row for row in self.rows("RN1") if row[0] != last]
            self.assertEqual({row[1:4] for row in rows}, {(1, 1, 1)}, rows)
            # the line is written behind the commit
            wait_for("every line", lambda: len(self.said(since, last)) >= len(rows))
            self.assertEqual(self.said(since, last), [row[0] for row in rows])
            self.pushed(rows, since)
        self.finish("RN1", MANY + 1)

    def backends(self, i, condition="true"):
        """How many sessions of that node PostgreSQL has of which that is true."""
        return self.sql("SELECT count(*) AS n FROM pg_stat_activity WHERE datname = 'renewal' AND "
                        f"application_name = 'node{i}' AND {condition}")[0][0]

    def freeze(self, i):
        """Stops a node while it has no transaction open."""
        def stopped():
            self.nodes[i].process.send_signal(signal.SIGSTOP)
            if not self.backends(i, "state <> 'idle'"):
                return True
            self.thaw(i)
            return False
        self.addCleanup(self.thaw, i)
        wait_for("a node is idle", stopped)

    def thaw(self, i):
        self.nodes[i].process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def held(self, statement, device):
        """Another session has done that to the device's row and does not commit; its number."""
        key, = self.sql("SELECT c.serial, e.id FROM certificates c JOIN enrollments e ON "
                        "e.cert_sha256 = c.sha256 WHERE c.device_serial = ?", (device,))
        statement = statement.format(certificate=key[0].hex(), enrollment=key[1])
        session = subprocess.Popen(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", self.url],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            session.stdin.write(f"BEGIN;\n{statement};\nSELECT pg_backend_pid();\n")
            session.stdin.flush()
            yield int(session.stdout.readline())
        finally:
            session.communicate("ROLLBACK;\n", timeout=60)

    def kill_before(self, statement, place):
        """Node 1 renews alone, in the order of the times, and is killed when it gets to the row that
        another session holds. Nothing else ends its wait but its lock_timeout: then it goes on
        behind that one, and comes back."""
        self.freeze(0)
        self.freeze(1)
        devices = [row[0] for row in self.rows("RN2")]
        self.assertEqual(len(devices), COUNT)
        for i, device in enumerate(devices):
            self.make_due(device, COUNT - i)
        with self.held(statement, devices[place]) as holder:
            self.thaw(1)
            wait_for("the row is waited for",
                     lambda: self.backends(1, f"{holder} = ANY (pg_blocking_pids(pid))"))
            self.nodes[1].process.send_signal(signal.SIGKILL)
            self.nodes[1].process.wait(60)
        wait_for("the dead node's sessions end", lambda: not self.backends(1))
        rows = [row[1:4] for row in self.rows("RN2")]
        # all of a claim is there, or nothing of it
        self.assertEqual(set(rows[:place]), {(1, 1, 1)}, rows)
        self.assertEqual(rows[place], (0, 0, 0), rows)
        self.assertEqual(set(rows[place + 1:]) - {(1, 1, 1), (0, 0, 0)}, set(), rows)
        self.thaw(0)
        return sum(row[0] for row in rows)

    def test_2_node_is_killed_in_between(self):
        """What the dead node had claimed is queued, wanted and pushed; what it had not, the other
        claims."""
        self.server.fleet(COUNT, None, "--prefix", "RN2")
        for statement, place in KILLS:
            since = self.log_ends()
            claimed = self.kill_before(statement, place)
            rows = self.one_each("RN2", COUNT)
            self.pushed(rows, since)
            self.nodes[1].log.close()
            self.nodes[1].start()
            self.finish("RN2", COUNT)
            print(f"killed behind {claimed} of {COUNT} renewals")

    # --- two successors ---

    def put(self, node, path, pem, message):
        kind = MDM + ("-checkin" if "MessageType" in message else "")
        return node.request(node.device, "PUT", path, plistlib.dumps(message),
                            {"Content-Type": kind}, node.tls(pem))

    def pem(self, c, key, der, name):
        path = c.path(name + ".pem")
        with open(key, "rb") as f, open(path, "wb") as out:
            out.write(openssl("x509", "-inform", "DER", data=der) + f.read())
        return path

    def renewing_identifier(self, serial, renews):
        """As the renewer writes it with a push."""
        value, now = os.urandom(24).hex(), int(time.time())
        self.sql("INSERT INTO client_ids (hash, serial, profile, created_at, expires_at, renews) "
                 "VALUES (?, ?, 'management', ?, ?, ?)",
                 (hashlib.sha256(value.encode()).digest(), serial, now, now + 3600, renews))
        return value

    def test_3_two_successors_used_at_once(self):
        """Both on the first use of their life, on two nodes: one lives, whoever is faster."""
        for i in range(RACES):
            serial = f"RACE{i:07}"
            udid = f"00008120-0000{i:012}"
            self.server.put_device(serial)
            c, _, key, der = self.issued(serial)
            old = self.pem(c, key, der, "old")
            for message in ({"MessageType": "Authenticate", "SerialNumber": serial},
                            {"MessageType": "TokenUpdate", "PushMagic": "m", "Token": b"\1" * 32}):
                got = self.put(self.server, "/mdm/checkin", old,
                               {"UDID": udid, "Topic": TOPIC, **message})
                self.assertEqual(got.status, 200, got)
            number, = self.sql("SELECT serial FROM certificates WHERE device_serial = ?", (serial,))[0]
            pems = []
            for name in ("a", "b"):
                self.identifier = lambda _: self.renewing_identifier(serial, number)
                try:
                    c, _, key, der = self.issued(serial)
                finally:
                    del self.identifier
                pems.append(self.pem(c, key, der, name))
            gate, answers = threading.Barrier(2), [None, None]

            def use(k):
                gate.wait()
                answers[k] = self.put(self.nodes[k], "/mdm/connect", pems[k],
                                      {"Status": "Idle", "UDID": udid}).status
            threads = [threading.Thread(target=use, args=(k,)) for k in range(2)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            self.assertIn(sorted(answers), ([200, 403], [200, 503]), answers)
            good = self.sql("SELECT serial, renews FROM certificates WHERE device_serial = ? AND "
                            "status = 0", (serial,))
            self.assertEqual([row[1] for row in good], [number], good)
            winner = answers.index(200)
            for node in self.nodes:
                self.assertEqual(self.put(node, "/mdm/connect", pems[winner],
                                          {"Status": "Idle", "UDID": udid}).status, 200)
                self.assertEqual(self.put(node, "/mdm/connect", pems[1 - winner],
                                          {"Status": "Idle", "UDID": udid}).status, 403)


if __name__ == "__main__":
    unittest.main()
