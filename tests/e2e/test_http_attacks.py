"""Bytes that other servers were fooled by, on the real listeners: refused with 400, the connection
closed, and nothing behind them served."""
import os
import re
import socket
import ssl
import time
import unittest

from testudo import Server, DEADLINE

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
SMUGGLED = b"GET /ca/root.crt HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /ocsp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ocsp-request\r\n"

ATTACKS = {
    "CL and TE": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two Content-Lengths": POST + b"Content-Length: 4\r\nContent-Length: 40\r\n\r\nabcd" + SMUGGLED,
    "Content-Length with a space": POST + b"Content-Length : 4\r\n\r\n" + SMUGGLED,
    "obs-fold": GET + b"X-A: b\r\n c\r\n\r\n" + SMUGGLED,
    "two Hosts": GET + b"Host: other\r\n\r\n" + SMUGGLED,
    "NUL in a header": GET + b"X-A: b\x00c\r\n\r\n" + SMUGGLED,
    "%00 in the path": b"GET /healthz%00 HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED,
    "dot segments": b"GET /ca/../healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED,
    "encoded dot segments": b"GET /ca/%2e%2E/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED,
    "no Host": b"GET /healthz HTTP/1.1\r\n\r\n" + SMUGGLED,
    "TE: identity": POST + b"Transfer-Encoding: identity\r\n\r\n" + SMUGGLED,
    "negative length": POST + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "length with a plus": POST + b"Content-Length: +4\r\n\r\nabcd" + SMUGGLED,
}


class HttpAttacks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.server.init(attestation=False)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def connect(self, tls):
        port = self.server.ports[0] if tls else self.server.ports[2]
        raw = socket.create_connection(("127.0.0.1", port), DEADLINE)
        if not tls:
            return raw
        return ssl.create_default_context(cafile=self.server.root).wrap_socket(
            raw, server_hostname="localhost")

    def exchange(self, data, tls=False):
        """Everything the server says until it closes."""
        with self.connect(tls) as s:
            s.sendall(data)
            got = b""
            try:
                while True:
                    more = s.recv(65536)
                    if not more:
                        return got
                    got += more
            except (ConnectionResetError, ssl.SSLEOFError):
                return got

    def test_control(self):
        """The same shape without an attack is served, both requests of it."""
        got = self.exchange(GET + b"\r\n" + GET + b"Connection: close\r\n\r\n")
        self.assertEqual(got.count(b"HTTP/1.1 200"), 2, got)

    def test_attacks(self):
        for name, data in ATTACKS.items():
            for tls in (False, True):
                with self.subTest(name, tls=tls):
                    got = self.exchange(data, tls)
                    self.assertTrue(got.startswith(b"HTTP/1.1 400"), got[:200])
                    # libmicrohttpd says its own 400 twice; nothing else may be said
                    statuses = set(re.findall(rb"HTTP/1\.[01] (\d{3}) ", got))
                    self.assertEqual(statuses, {b"400"}, got[:400])
                    self.assertIn(b"connection: close", got.lower())

    def test_url_limits(self):
        fits = b"/" + b"a" * 2000
        self.assertIn(b"HTTP/1.1 404", self.exchange(
            b"GET " + fits + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        got = self.exchange(b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertRegex(got, rb"HTTP/1\.1 4(00|14)")

    def test_methods(self):
        got = self.exchange(b"DELETE /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        self.assertIn(b"HTTP/1.1 405", got)
        self.assertIn(b"Allow:", got)

    def test_ocsp_http_1_0(self):
        got = self.exchange(b"POST /ocsp HTTP/1.0\r\nContent-Type: application/ocsp-request\r\n"
                            b"Content-Length: 1\r\n\r\n0")
        self.assertRegex(got, rb"^HTTP/1\.[01] 200")
        self.assertTrue(got.endswith(b"\x30\x03\x0a\x01\x01"), got)


class HalfHandshake(unittest.TestCase):
    @staticmethod
    def cpu(server):
        with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_it_costs_nothing_and_ends(self):
        """The beginning of a ClientHello and no more: cut at the deadline, and no thread turns in a
        circle until then."""
        with Server(server__idle_timeout="6s", server__body_timeout="6s") as server:
            began, cpu = time.monotonic(), self.cpu(server)
            with socket.create_connection(("127.0.0.1", server.ports[0]), DEADLINE) as s:
                s.sendall(bytes.fromhex("16030102000100 01fc0303"))
                try:
                    while s.recv(100):  # an alert, perhaps
                        pass
                except ConnectionResetError:
                    pass
            took = time.monotonic() - began
            self.assertGreater(took, 5)
            self.assertLess(self.cpu(server) - cpu, took / 2)


if __name__ == "__main__":
    unittest.main()
