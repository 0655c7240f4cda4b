"""Three nodes on one PostgreSQL behind HAProxy, with the configuration we ship: a node dies, the
primary dies and a standby takes over; devices notice nothing but a retry."""
import copy
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from testudo import Server, free_ports, wait_for

import pg
from load import Client, Load, Ocsp, Quiet

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"
NODES = 3
KILLS = 6
MDM = {"Content-Type": "application/x-apple-aspen-mdm; charset=UTF-8"}


def another(first, settings):
    """A node with what the first has: CA, TLS certificate, configuration; on other ports."""
    node = Server(**settings)
    shutil.rmtree(node.dir)
    shutil.copytree(first.dir, node.dir, ignore=shutil.ignore_patterns("*.log", "*.db*"))
    with open(first.ini, encoding="utf-8") as f:
        text = f.read().replace(first.dir, node.dir)
    for old, new in zip(first.ports, node.ports):
        text = text.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
    with open(node.ini, "w", encoding="utf-8") as f:
        f.write(text)
    node.token = first.token
    return node


class Proxy:
    """HAProxy with contrib/haproxy/testudo.cfg: addresses and file names are put in, nothing else."""

    def __init__(self, nodes, ports):
        self.dir = tempfile.mkdtemp(prefix="testudo-haproxy-")
        tls = os.path.join(nodes[0].dir, "tls")
        pem = os.path.join(self.dir, "front.pem")
        with open(pem, "w", encoding="ascii") as out:
            for name in ("server.crt", "server.key"):
                with open(os.path.join(tls, name), encoding="ascii") as f:
                    out.write(f.read())
        with open(os.path.join(TOP, "contrib/haproxy/testudo.cfg"), encoding="utf-8") as f:
            text = f.read()
        for old, new in (("/dev/log", "stdout format raw"), ("mdm.example.com.pem", "front.pem"),
                         ("/etc/haproxy/front.pem", pem),
                         ("/etc/haproxy/testudo-root.pem", nodes[0].root), ("20000", "500"),
                         ("mdm.example.com", "localhost")):
            assert old in text, old
            text = text.replace(old, new)
        own = (8443, 8444, 8080)
        for usual, port in zip(own, ports):
            text = text.replace(f"bind :{usual}", f"bind 127.0.0.1:{port}")
        for i, node in enumerate(nodes):
            for usual, port in zip(own, node.ports):
                text = text.replace(f"10.0.0.1{i + 1}:{usual}", f"127.0.0.1:{port}")
                text = re.sub(rf"(server node{i + 1} .* port ){usual}", rf"\g<1>{port}", text)
        path = os.path.join(self.dir, "haproxy.cfg")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        self.log_path = os.path.join(self.dir, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([HAPROXY, "-db", "-f", path], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)


class Cluster(unittest.TestCase):
    """Several nodes on one database behind HAProxy; `front` speaks to the proxy."""

    @classmethod
    def start(cls, url):
        public, device, status = ports = free_ports(3)
        settings = {"server-public_url": f"https://localhost:{public}",
                    "server-device_url": f"https://localhost:{device}",
                    "server-status_url": f"http://localhost:{status}", "store-url": url}
        first = Server(**settings)
        first.init()
        cls.nodes = [first] + [another(first, settings) for _ in range(NODES - 1)]
        for node in cls.nodes:
            node.start()
        cls.proxy = Proxy(cls.nodes, ports)
        cls.front = copy.copy(first)
        cls.front.public = settings["server-public_url"]
        cls.front.device = settings["server-device_url"]
        cls.front.status = settings["server-status_url"]
        wait_for("HAProxy answers", cls.answers)

    @classmethod
    def answers(cls):
        assert cls.proxy.process.poll() is None, cls.proxy.log()
        try:
            return all(cls.front.get(base, "/readyz").status == 200
                       for base in (cls.front.public, cls.front.status))
        except OSError:
            return False

    @classmethod
    def stop(cls):
        cls.proxy.stop()
        for node in cls.nodes:
            node.__exit__(None, None, None)


@unittest.skipUnless(pg.BIN and os.path.exists(HAPROXY), "PostgreSQL or HAProxy is not installed")
class Nodes(Cluster):
    @classmethod
    def setUpClass(cls):
        cls.primary = pg.Cluster(tcp=True, fsync=True).init().start()
        cls.standby = cls.primary.standby()
        cls.primary.synchronous()
        cls.primary.create_database("testudo")
        cls.start(pg.urls([cls.primary, cls.standby], "testudo"))

    @classmethod
    def tearDownClass(cls):
        cls.stop()
        cls.standby.remove()
        cls.primary.remove()

    def query(self, sql):
        rows = self.database.sql(sql.replace("@hex@", "encode(serial, 'hex')"), "testudo")
        return [tuple(int(v) if v.isdigit() and len(v) == 1 else v for v in row.split("|"))
                for row in rows.splitlines()]

    def test_1_an_order_goes_over_all_nodes(self):
        """The requests of one order: each on another node than the one before."""
        before = len(self.proxy.log())
        summary = self.front.fleet(1, None, "--prefix", "ORDER", "--threads", "1")
        self.assertEqual((summary["enrolled"], summary["failed"]), (1, 0), summary)

        def requests():
            found = re.findall(r"public/(node\d) .*\"(?:GET|HEAD|POST) (/acme/\S+)",
                               self.proxy.log()[before:])
            return found if len(found) >= 9 else None

        found = wait_for("HAProxy's log", requests)
        self.assertEqual(len(found), 9, found)
        nodes = [node for node, _ in found]
        self.assertEqual(set(nodes), {f"node{i + 1}" for i in range(NODES)}, found)
        for a, b in zip(nodes, nodes[1:]):
            self.assertNotEqual(a, b, found)
        print("one order: " + ", ".join(f"{path.split('/')[-1] or path} {node}"
                                        for node, path in found)[:600])

    def test_1_revoked_on_one_node_is_revoked_on_all(self):
        """Each node said `good` a moment ago, and says `revoked` behind the DELETE on another."""
        self.front.fleet(NODES, None, "--prefix", "GONE")
        askers = [Ocsp(Quiet(node)) for node in self.nodes]
        for i, node in enumerate(self.nodes):
            serial = f"GONE{i + 1:07}"
            h = node.certificates(serial)[0]["serial"]
            self.assertEqual([a.status(h) for a in askers], ["good"] * NODES)
            self.assertEqual(node.api("DELETE", f"/api/v1/inventory/devices/{serial}").status, 204)
            self.assertEqual([a.status(h) for a in askers], ["revoked"] * NODES)

    def test_2_nodes_are_killed(self):
        """Each node is killed twice under load."""
        self.database = self.primary
        rng = random.Random(7)
        load, checked = Load(self.front, 7, base=6), 0
        self.addCleanup(self.end, load)
        load.start()
        for i in range(KILLS):
            load.wait(rng.randint(50, 200))
            node = self.nodes[i % NODES]
            node.process.send_signal(signal.SIGKILL)
            node.process.wait(30)
            load.wait(100)  # the others go on
            checked += load.check(self.query)
            node.log.close()
            node.start()
            since = len(self.proxy.log())
            wait_for("HAProxy gives the node requests",
                     lambda: f" public/node{i % NODES + 1} " in self.proxy.log()[since:])
        self.finish(load, checked, f"{KILLS} kills of nodes")

    def finish(self, load, checked, what):
        summary = load.stop()
        checked += load.check(self.query)
        load.final(self.query)
        self.assertFalse(load.away - {502, 503, 504}, load.away)
        kinds = ", ".join(f"{v} {k}" for k, v in sorted(load.count.items()))
        print(f"{what}: {checked} acknowledged things found ({kinds}); {summary['enrolled']} enrolled, "
              f"{summary['failed']} failed, {summary['begun_anew']} begun anew")

    def end(self, load):
        load.stopping.set()
        if load.simulator and load.simulator.poll() is None:
            load.simulator.kill()
        if load.simulator:
            load.simulator.stdout.close()

    def readyz(self, node):
        return node.get(node.status, "/readyz").status

    def test_3_the_primary_dies(self):
        """The primary is killed, the synchronous standby promoted; all by itself goes on."""
        load = Load(self.front, 8, base=4)
        self.addCleanup(self.end, load)
        load.start()
        load.wait(200)
        killed = time.monotonic()
        self.primary.kill()
        for node in self.nodes:
            wait_for("not ready", lambda: self.readyz(node) == 503)
        node, serial = self.nodes[1], load.base[0]
        device = Client(load, node.device, node.tls(load.identities[serial]))
        for path in ("/mdm/connect", "/mdm/checkin"):
            status, body = device.once("PUT", path, b"", MDM)
            self.assertIn(status, (400, 415, 503), (path, status, body))
        body = (f"<plist><dict><key>Status</key><string>Idle</string><key>UDID</key>"
                f"<string>{load.udids[serial]}</string></dict></plist>").encode()
        self.assertEqual(device.once("PUT", "/mdm/connect", body, MDM)[0], 503)
        promoting = time.monotonic()
        self.standby.promote()
        promoted = time.monotonic()
        load.wait(1)
        first = time.monotonic()
        for node in self.nodes:
            wait_for("ready", lambda: self.readyz(node) == 200)
        ready = time.monotonic()
        load.wait(200)
        self.database = self.standby
        self.finish(load, 0, "fail-over")
        print(f"all nodes say 503 {promoting - killed:.2f} s behind the kill; from the call of "
              f"pg_promote: writable {promoted - promoting:.2f} s, first acknowledgement "
              f"{first - promoting:.2f} s, all nodes ready {ready - promoting:.2f} s")


@unittest.skipUnless(pg.BIN, "PostgreSQL is not installed")
class Frozen(unittest.TestCase):
    """Databases that stand still: nothing is closed, nothing answered."""

    def setUp(self):
        self.primary = pg.Cluster(tcp=True, fsync=True).init().start()
        self.addCleanup(self.primary.remove)
        self.standby = self.primary.standby()
        self.addCleanup(self.standby.remove)
        self.primary.synchronous()
        self.primary.create_database("testudo")
        self.server = Server(store__url=pg.urls([self.primary, self.standby], "testudo"))
        self.server.init()
        self.server.start()
        self.addCleanup(self.server.__exit__, None, None, None)

    def readyz(self):
        return self.server.get(self.server.status, "/readyz").status

    def test_the_primary(self):
        """It is given up after [store] answer_timeout; promoted, the standby is found."""
        self.server.put_device("BEFORE")
        frozen = time.monotonic()
        self.primary.freeze()
        answer = self.server.api("PUT", "/api/v1/inventory/devices/FROZEN", {"name": "x"})
        self.assertEqual(answer.status, 503, answer)
        self.assertEqual(self.readyz(), 503)
        known = time.monotonic()
        self.standby.promote()
        self.primary.kill()  # as whoever promotes must: it would go on as a primary
        promoted = time.monotonic()
        wait_for("ready", lambda: self.readyz() == 200)
        self.server.put_device("AFTER")
        for serial, status in (("BEFORE", 200), ("FROZEN", 404), ("AFTER", 200)):
            got = self.server.api("GET", f"/api/v1/inventory/devices/{serial}")
            self.assertEqual(got.status, status, got)
        print(f"given up {known - frozen:.1f} s after it froze, served again "
              f"{time.monotonic() - promoted:.1f} s after the other was promoted")

    def test_the_synchronous_standby(self):
        """What only the primary has is not acknowledged, however long that takes."""
        self.standby.freeze()
        answer = self.server.api("PUT", "/api/v1/inventory/devices/ALONE", {"name": "x"})
        self.assertEqual(answer.status, 503, answer)
        self.primary.synchronous("")
        wait_for("it takes writes", lambda: self.server.api(
            "PUT", "/api/v1/inventory/devices/ALONE", {"name": "x"}).status in (200, 201))


if __name__ == "__main__":
    unittest.main()
