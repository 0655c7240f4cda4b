"""What the tests of relying parties share: a server with a fleet, and the ways a certificate ends."""
import http.server
import os
import shutil
import threading
import time
import unittest

from testudo import Server, run


def tool(*names):
    """Skips, saying so, unless one of the programs is there."""
    return unittest.skipUnless(any(find(n) for n in names), f"{names[0]} is not installed")


def find(name):
    found = shutil.which(name)
    beside = os.path.join("/usr/sbin", name)
    return found or (beside if os.access(beside, os.X_OK) else None)


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Relying:
    """A server whose status listener is named by address, as nothing here resolves names; devices
    PREFIX0000001 and up; files that relying parties are given."""

    def __init__(self, prefix, count, **settings):
        self.server = s = Server()
        self.prefix = prefix
        s.settings["server-status_url"] = self.status = f"http://127.0.0.1:{s.ports[2]}"
        s.settings.update({k.replace("__", "-"): v for k, v in settings.items()})
        s.init()
        s.start()
        summary = s.fleet(count, None, "--prefix", prefix)
        assert summary["enrolled"] == count, summary
        self.issuing = os.path.join(s.dir, "ca/issuing.crt")
        self.bundle = self.file("bundle.pem", read(s.root) + read(self.issuing))
        self.chain = os.path.join(s.dir, "tls/server.crt")
        self.key = os.path.join(s.dir, "tls/server.key")

    def file(self, name, data):
        path = os.path.join(self.server.dir, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def serial(self, n):
        return f"{self.prefix}{n:07d}"

    def identity(self, n):
        """Certificate and key of a device in one file."""
        return self.server.identity(self.serial(n))

    def cert(self, n):
        """Its certificate alone."""
        pem = self.server.certificates(self.serial(n))[0]["pem"]
        return self.file(f"leaf{n}.pem", pem.encode())

    def act(self, n, verb, body=None):
        serial = self.server.certificates(self.serial(n))[0]["serial"]
        answer = self.server.api("POST", f"/api/v1/certificates/{serial}/{verb}", body)
        assert answer.status == 200, answer

    def hold(self, n):
        self.act(n, "hold")

    def release(self, n):
        self.act(n, "release")

    def revoke(self, n, reason="keyCompromise"):
        self.act(n, "revoke", {"reason": reason})

    def leave(self, n):
        """The device leaves the inventory; the moment at which that was answered."""
        answer = self.server.api("DELETE", f"/api/v1/inventory/devices/{self.serial(n)}")
        assert answer.status == 204, answer
        return time.monotonic()

    def time_to_deny(self, n, who, accepted, seconds=30):
        """Leaves, then asks until the first refusal; prints how long that was."""
        assert accepted(n), f"{who} refuses a good certificate"
        left = self.leave(n)
        tries = 1
        while accepted(n):
            tries += 1
            assert time.monotonic() - left < seconds, f"{who} accepts for {seconds} s"
        took = time.monotonic() - left
        print(f"time-to-deny {who}: {took * 1000:.0f} ms from the answer to the inventory's DELETE "
              f"to the end of the refusal, try {tries}", flush=True)
        return took

    def points(self):
        """Every CRL that certificates may name, by its path."""
        answer = self.server.get(self.status, "/crl/issuing.crl")
        assert answer.status == 200, answer
        text = run("openssl", "x509", "-in", self.cert(1), "-noout", "-ext",
                   "crlDistributionPoints").stdout
        base = text.split("URI:" + self.status)[1].strip().rsplit("/", 1)[0]
        found = {f"{base}/{i}.crl": self.server.get(self.status, f"{base}/{i}.crl").body
                 for i in range(16)}
        assert all(found.values())
        return found

    def serve(self, files):
        """Instead of the server, which is down: these files at its status address, no OCSP."""
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = files.get(self.path)
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            do_POST = do_GET

            def log_message(self, *args):
                pass
        stand_in = http.server.ThreadingHTTPServer(("127.0.0.1", self.server.ports[2]), Handler)
        threading.Thread(target=stand_in.serve_forever, daemon=True).start()
        return stand_in

    def down(self):
        """No responder from here on."""
        self.server.stop()

    def close(self):
        self.server.__exit__(None, None, None)


__all__ = ["Relying", "find", "read", "run", "tool"]
