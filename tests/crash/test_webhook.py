"""Webhooks and death: what was acknowledged is told, whoever is killed in between; two nodes on one
PostgreSQL tell each event once."""
import os
import random
import signal
import unittest

from testudo import Server, wait_for

import pg
from receiver import Receiver
from test_nodes import another

KILLS = int(os.environ.get("TESTUDO_CRASH_KILLS", "12"))


def hook(server, receiver, *events):
    answer = server.api("POST", "/api/v1/webhooks", {"url": receiver.url, "events": list(events)})
    assert answer.status == 201, answer
    return answer.json["id"]


def first_seen(events):
    """Without the repetitions, as a receiver would drop them."""
    seen = {}
    for e in events:
        seen.setdefault(e["id"], e)
    return list(seen.values())


class Killed:
    """SIGKILL right behind an answer: the event was written with it."""

    def test_kill_behind_the_commit(self):
        rng, receiver = random.Random(3), Receiver()
        self.addCleanup(receiver.stop)
        with Server(engine=self.engine) as server:
            hook(server, receiver, "device.added", "device.left")
            listed, left = [], []
            for i in range(KILLS):
                for k in range(rng.randint(1, 4)):
                    serial = f"KILL{i:03}X{k}"
                    server.put_device(serial)
                    listed.append(serial)
                if rng.random() < 0.5:
                    answer = server.api("DELETE", f"/api/v1/inventory/devices/{serial}")
                    self.assertEqual(answer.status, 204)
                    left.append(serial)
                server.process.send_signal(signal.SIGKILL)
                server.process.wait(30)
                server.log.close()
                server.start()
            wait_for("every event", lambda: len(first_seen(receiver.events())) >=
                     len(listed) + len(left))
            events = first_seen(receiver.events())
            self.assertEqual([e["device"] for e in events if e["type"] == "device.added"], listed)
            self.assertEqual([e["device"] for e in events if e["type"] == "device.left"], left)
            print(f"{KILLS} kills, {len(events)} events, "
                  f"{len(receiver.events()) - len(events)} of them sent again")


class KilledOnSqlite(Killed, unittest.TestCase):
    engine = "sqlite"


@unittest.skipUnless(pg.BIN, "PostgreSQL is not installed")
class KilledOnPostgres(Killed, unittest.TestCase):
    engine = "pg"

    # A claim of a node that died runs out behind the request's time: shown below, once.
    def setUp(self):
        os.environ["TESTUDO_WEBHOOK_TIMEOUT"] = "1s"
        self.addCleanup(os.environ.pop, "TESTUDO_WEBHOOK_TIMEOUT")


@unittest.skipUnless(pg.BIN, "PostgreSQL is not installed")
class TwoNodes(unittest.TestCase):
    def setUp(self):
        self.receiver = Receiver()
        self.addCleanup(self.receiver.stop)
        first = Server(engine="pg", webhook__timeout="10s")
        first.init()
        settings = {k: v for k, v in first.settings.items() if k in ("store-url", "webhook-timeout")}
        self.nodes = [first, another(first, settings)]
        for node in self.nodes:
            node.start()
        for node in self.nodes[::-1]:
            self.addCleanup(node.__exit__, None, None, None)

    def test_each_event_once(self):
        """Both nodes write and both deliver; nobody is killed, so nothing is sent twice."""
        other = Receiver()
        self.addCleanup(other.stop)
        for receiver in (self.receiver, other):
            hook(self.nodes[0], receiver, "device.added")
        serials = [f"TWO{i:03}" for i in range(120)]
        for i, serial in enumerate(serials):
            self.nodes[i % 2].put_device(serial)
        for receiver in (self.receiver, other):
            wait_for("every event", lambda: len(receiver.events()) >= len(serials))
        for node in self.nodes:
            wait_for("nothing waits", lambda: not any(
                h["queue"] for h in node.api("GET", "/api/v1/webhooks").json["webhooks"]))
        for receiver in (self.receiver, other):
            self.assertEqual([e["device"] for e in receiver.events()], serials)

    def test_the_other_takes_over(self):
        """The node that delivers is killed while the endpoint thinks about it."""
        release = []
        self.receiver.answer = lambda n, event: (
            (200, {"Content-Length": "1"}, lambda out: wait_for("released", lambda: release))
            if n == 0 else (200, {}, b""))
        hook(self.nodes[0], self.receiver, "device.added")
        database = self.nodes[0].database()
        self.nodes[1].stop()
        self.nodes[0].put_device("TAKE1")
        wait_for("it is under way", lambda: self.receiver.got)
        self.nodes[0].process.send_signal(signal.SIGKILL)
        self.nodes[0].process.wait(30)
        self.assertNotEqual(database.execute("SELECT lease FROM webhook_states").fetchone()[0], "")
        self.nodes[1].start()
        self.nodes[1].put_device("TAKE2")
        wait_for("both", lambda: len(self.receiver.events()) >= 3)
        self.assertEqual([e["device"] for e in self.receiver.events()], ["TAKE1", "TAKE1", "TAKE2"])
        self.assertEqual(self.receiver.events()[0]["id"], self.receiver.events()[1]["id"])
        release.append(True)
        self.nodes[0].process = None
        self.nodes[0].log.close()



