"""Three nodes change their issuing CA under load: whichever is first, each answers for certificates
of either CA at every moment, and the change is told once."""
import glob
import os
import random
import re
import shutil
import signal
import threading
import unittest

from test_ca_keys import ca, reload
import test_nodes
from test_nodes import HAPROXY, NODES
from testudo import run, wait_for

import pg
from load import Client, Load, Ocsp, Quiet

SHARDS = 16


class Watch:
    """Asks every node for the status of what was issued, and for the CRLs, all the time."""

    def __init__(self, load, nodes):
        self.load, self.nodes, self.asked, self.lists = load, nodes, 0, 0
        self.rng = random.Random(3)
        self.quiet = [Quiet(node) for node in nodes]
        self.thread = threading.Thread(target=load.guarded, args=(self.run,), daemon=True)
        self.learn(nodes[0])

    def learn(self, node):
        """The CAs to ask for are those that this node serves now."""
        first = Ocsp(Quiet(node))
        text = node.get(node.status, "/ca/chain.pem").body.decode()
        self.askers = [Ocsp(q, first) for q in self.quiet]
        self.ids = [c["id"] for c in node.api("GET", "/api/v1/ca").json["issuing_cas"]]
        assert len(self.ids) == text.count("BEGIN CERTIFICATE") - 1

    def over(self, h, serial):
        """Whether it may be revoked: its device leaves, or enrolled anew behind a kill."""
        self.load.read_acks()  # what led to that was told before
        newest = {s: n for n, s in list(self.load.certificates.items())}
        return serial in self.load.doomed or newest[serial] != h

    def run(self):
        seen = 0
        clients = [Client(q, q.server.status) for q in self.quiet]
        while not self.load.stopping.is_set():
            known = list(self.load.certificates.items())
            some = known[seen:] + self.rng.sample(known, min(5, len(known)))
            seen = len(known)
            for h, serial in some:
                for asker in self.askers:
                    status = asker.status(h)
                    if status != "good" and not (status == "revoked" and self.over(h, serial)):
                        self.load.bad(f"{asker.client.host}: {h} of {serial} is {status}")
                        return
                    self.asked += 1
            for ident in self.ids:
                for client in clients:
                    name = self.rng.choice(["all", self.rng.randrange(SHARDS)])
                    status, _ = client.request("GET", f"/crl/{ident}/{name}.crl")
                    if status != 200:
                        self.load.bad(f"{client.host}: /crl/{ident}/{name}.crl: {status}")
                        return
                    self.lists += 1
            self.load.stopping.wait(0.005)


@unittest.skipUnless(pg.BIN and os.path.exists(HAPROXY), "PostgreSQL or HAProxy is not installed")
class Rotation(test_nodes.Cluster):
    @classmethod
    def setUpClass(cls):
        cls.url = pg.shared().create_database("rotation")
        cls.start(cls.url)

    @classmethod
    def tearDownClass(cls):
        cls.stop()
        pg.shared().drop_database("rotation")

    def query(self, sql):
        rows = pg.shared().sql(sql.replace("@hex@", "encode(serial, 'hex')"), "rotation")
        return [tuple(int(v) if v.isdigit() and len(v) == 1 else v for v in row.split("|"))
                for row in rows.splitlines()]

    def issued(self, ident):
        return int(self.query("SELECT count(*) || ' ' FROM certificates WHERE encode(issuer, 'hex') ="
                              f" '{ident}'")[0][0])

    def active(self):
        return [node.api("GET", "/api/v1/ca").json["issuing"]["id"] for node in self.nodes]

    def restart(self, node):
        """Takes the directory by a start in place of a SIGHUP."""
        node.process.send_signal(signal.SIGKILL)
        node.process.wait(30)
        node.log.close()
        node.start()

    def stand_by(self, load, rng):
        """A new CA, which each node learns after the other."""
        first, *others = rng.sample(self.nodes, NODES)
        said = ca(first, "rotate", "--standby").stdout
        new = re.search("CA ([0-9a-f]{40}) stands by", said).group(1)
        reload(first)
        for node in others:
            load.wait(20)
            for path in glob.glob(os.path.join(first.dir, "ca", f"issuing-{new}.*")):
                shutil.copy(path, os.path.join(node.dir, "ca"))
            reload(node)
        for node in self.nodes:
            self.assertEqual(node.get(node.status, f"/ca/{new}.crt").status, 200)
        return new

    def switch(self, load, rng, new, how):
        """Each node issues from the new one, in some order."""
        order = rng.sample(self.nodes, NODES)
        if how == "all at once":
            for node in order:
                ca(node, "activate", new)
            before = [n.tail(100000).count("event=server.reload") for n in order]
            for node in order:
                node.process.send_signal(signal.SIGHUP)
            for node, n in zip(order, before):
                wait_for("reloaded", lambda: node.tail(100000).count("event=server.reload") > n)
            return
        for i, node in enumerate(order):
            ca(node, "activate", new)
            (self.restart if how == "killed" and i < 2 else reload)(node)
            if i == 0:  # one issues from the new one, two from the old one
                was, = set(self.active()) - {new}
                here = self.issued(new), self.issued(was)
                wait_for("both issue", lambda: (load.trouble or (
                    self.issued(new) > here[0] and self.issued(was) > here[1])))
            load.wait(30)

    def test_every_order(self):
        rng = random.Random(11)
        answer = self.nodes[0].api("POST", "/api/v1/webhooks", {
            "url": "https://localhost:1/", "events": ["ca.rotated"]})
        self.assertEqual(answer.status, 201, answer)
        load = Load(self.front, 5, base=4)
        self.addCleanup(self.end, load)
        load.start()
        watch = Watch(load, self.nodes)
        watch.thread.start()
        load.threads.append(watch.thread)
        load.wait(50)
        told = []
        for how in ("one by one", "all at once", "killed"):
            was, = set(self.active())
            new = self.stand_by(load, rng)
            self.assertEqual((self.active(), self.issued(new)), ([was] * NODES, 0))
            watch.learn(rng.choice(self.nodes))
            self.assertIn(new, watch.ids)
            self.switch(load, rng, new, how)
            self.assertEqual(self.active(), [new] * NODES)
            here = self.issued(new), self.issued(was)
            wait_for("the new one issues", lambda: load.trouble or self.issued(new) > here[0] + 5)
            told.append((new, was))
            checked = load.check(self.query)
            print(f"{how}: {self.issued(was)} by the one before, {self.issued(new)} by the new one, "
                  f"{checked} acknowledged things found")
        wait_for("enough was asked", lambda: load.trouble or watch.asked > 100)
        summary = load.stop()
        self.assertFalse(load.away - {502, 503, 504}, load.away)
        load.final(self.query)
        events = [re.findall("[0-9a-f]{40}", data) for data, in self.query(
            "SELECT data FROM outbox WHERE type = 'ca.rotated' ORDER BY seq")]
        self.assertEqual(events, [list(t) for t in told])
        for ident in watch.ids:
            self.check_lists(ident)
        print(f"{summary['enrolled']} enrolled, {summary['failed']} failed; {watch.asked} answers of "
              f"OCSP and {watch.lists} CRLs were right")

    def check_lists(self, ident):
        """On every node the CRL of that CA holds what it is to hold."""
        revoked = {h for h, in self.query(
            "SELECT @hex@ FROM certificates WHERE status <> 0 AND encode(issuer, 'hex') = "
            f"'{ident}'")}
        for node in self.nodes:
            crt, crl = os.path.join(node.dir, "by.crt"), os.path.join(node.dir, "by.crl")
            for path, name in ((crt, f"/ca/{ident}.crt"), (crl, f"/crl/{ident}/all.crl")):
                with open(path, "wb") as f:
                    f.write(node.get(node.status, name).body)
            run("openssl", "x509", "-inform", "DER", "-in", crt, "-out", crt + ".pem")
            done = run("openssl", "crl", "-inform", "DER", "-in", crl, "-CAfile", crt + ".pem",
                       "-noout", "-text")
            self.assertIn("verify OK", done.stderr)
            listed = {h.lower() for h in re.findall("Serial Number: ([0-9A-F]+)", done.stdout)}
            self.assertEqual(listed, revoked)

    def end(self, load):
        load.stopping.set()
        if load.simulator and load.simulator.poll() is None:
            load.simulator.kill()
        if load.simulator:
            load.simulator.stdout.close()


if __name__ == "__main__":
    unittest.main()
