"""Crashes, restarts, reloads: nothing acknowledged is lost, nobody is unenrolled."""
import os
import re
import signal
import subprocess
import threading
import unittest

from testudo import Server, program, run, wait_for


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(p) for p in f.read().split()]


def signer_worker(server):
    """The process that holds the keys: the child of testudo's child."""
    for supervisor in children(server.process.pid):
        for worker in children(supervisor):
            return worker
    return None


class Restart(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.server.init()
        cls.server.start()
        cls.server.fleet(2, None, "--prefix", "RST")

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def serial(self, i=0):
        devices = self.server.api("GET", "/api/v1/devices?limit=10").json["devices"]
        return devices[i]["serial"]

    def state(self, serial, uuid):
        return self.server.api("GET", f"/api/v1/devices/{serial}/commands/{uuid}").json["state"]

    def test_sigkill_between_commands(self):
        serial = self.serial()
        uuids = [self.server.command(serial, request_type="SecurityInfo") for _ in range(5)]
        self.server.kill()
        self.server.start()
        self.assertEqual({self.state(serial, u) for u in uuids}, {"queued"})
        self.server.connect("--serial", serial)
        self.assertEqual({self.state(serial, u) for u in uuids}, {"acknowledged"})

    def test_acknowledged_is_there_after_sigkill(self):
        """Commands are queued by four clients until the server is killed; each 201 is kept."""
        serial, acknowledged, lock = self.serial(), [], threading.Lock()

        def client():
            while True:
                try:
                    uuid = self.server.command(serial, request_type="SecurityInfo")
                except (OSError, AssertionError, ValueError):
                    return
                with lock:
                    acknowledged.append(uuid)

        threads = [threading.Thread(target=client) for _ in range(4)]
        for t in threads:
            t.start()
        wait_for("some commands", lambda: len(acknowledged) > 20)
        self.server.kill()
        for t in threads:
            t.join()
        self.server.start()
        for uuid in acknowledged:
            self.assertEqual(self.state(serial, uuid), "queued")
        self.server.connect("--serial", serial)

    def test_sigterm_drains(self):
        """While clients write, SIGTERM ends the server with 0 and what it answered is kept."""
        serial, acknowledged = self.serial(), []

        def client():
            while True:
                try:
                    acknowledged.append(self.server.command(serial, request_type="SecurityInfo"))
                except (OSError, AssertionError, ValueError):
                    return

        threads = [threading.Thread(target=client) for _ in range(4)]
        for t in threads:
            t.start()
        wait_for("some commands", lambda: len(acknowledged) > 20)
        self.assertEqual(self.server.stop(), 0)
        for t in threads:
            t.join()
        self.server.start()
        for uuid in list(acknowledged):
            self.assertEqual(self.state(serial, uuid), "queued")
        self.server.connect("--serial", serial)

    def test_signer_dies(self):
        """The signer is killed: 503 meanwhile, started again by itself, enrolments go on."""
        worker = wait_for("the signer", lambda: signer_worker(self.server))
        os.kill(worker, signal.SIGKILL)
        wait_for("another signer", lambda: signer_worker(self.server) not in (None, worker))
        wait_for("ready", self.server.ready)
        summary = self.server.fleet(1, None, "--prefix", "RSTSIGN")
        self.assertEqual(summary["enrolled"], 1, summary)

    def test_signer_without_its_parent_ends(self):
        worker = wait_for("the signer", lambda: signer_worker(self.server))
        self.server.kill()
        wait_for("the signer is gone", lambda: not os.path.exists(f"/proc/{worker}"))
        self.server.start()

    def test_reload_certificate(self):
        """tls renew and SIGHUP: new connections see the new certificate, the server never stops."""
        def fingerprint():
            done = subprocess.run(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{self.server.ports[0]}"],
                input="", capture_output=True, text=True, timeout=30)
            pem = re.search(r"-----BEGIN.*?-----END CERTIFICATE-----", done.stdout, re.S)
            return pem.group(0) if pem else ""

        before = fingerprint()
        run(program("testudo"), "tls", "renew", f"--config={self.server.ini}")
        self.server.process.send_signal(signal.SIGHUP)
        wait_for("the new certificate", lambda: fingerprint() not in ("", before))
        self.assertTrue(self.server.ready())

    def test_reload_in_the_middle_of_a_renewal(self):
        """The new key is in place, its certificate is not yet: profiles are signed as before."""
        path = os.path.join(self.server.dir, "tls/server.key")
        with open(path, "rb") as f:
            good = f.read()
        serial = self.serial()
        try:
            run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-out", path)
            self.server.process.send_signal(signal.SIGHUP)
            wait_for("the log says so", lambda: "is not the key of" in self.server.tail(400))
            url = self.server.invite(serial)
            answer = self.server.get(self.server.public, url.removeprefix(self.server.public))
            profile = os.path.join(self.server.dir, "profile.der")
            with open(profile, "wb") as f:
                f.write(answer.body)
            run("openssl", "cms", "-verify", "-inform", "DER", "-in", profile, "-CAfile",
                self.server.root, "-purpose", "any", "-binary", "-out", os.devnull)
        finally:
            with open(path, "wb") as f:
                f.write(good)

    def test_reload_of_a_broken_certificate_keeps_the_old(self):
        path = os.path.join(self.server.dir, "tls/server.crt")
        with open(path, "rb") as f:
            good = f.read()
        try:
            with open(path, "wb") as f:
                f.write(b"broken")
            before = self.server.tail(100000).count("reload_failed")
            self.server.process.send_signal(signal.SIGHUP)
            wait_for("the log says so",
                     lambda: self.server.tail(100000).count("reload_failed") > before)
            self.assertEqual(self.server.get(self.server.public, "/healthz").status, 200)
        finally:
            with open(path, "wb") as f:
                f.write(good)


if __name__ == "__main__":
    unittest.main()
