"""The TLS listeners, asked by foreign clients (OpenSSL, GnuTLS, curl, Python) and by bad ones."""
import os
import re
import signal
import socket
import ssl
import time
import unittest

from testudo import Server, DEADLINE, run, wait_for

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def rest(s):
    """What comes until the end, and how that was: '' for an orderly one."""
    got = b""
    try:
        while more := s.recv(65536):
            got += more
    except OSError as e:
        return got, type(e).__name__
    return got, ""


class Base(unittest.TestCase):
    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(**cls.settings)
        cls.server.init(attestation=False)
        cls.server.start()
        cls.mine = os.path.join(cls.server.dir, "mine.pem")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", "/CN=stranger", "-keyout", cls.mine, "-out", cls.mine + ".crt")
        with open(cls.mine, "a", encoding="ascii") as out, \
                open(cls.mine + ".crt", encoding="ascii") as cert:
            out.write(cert.read())

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def raw(self, listener=0):
        return socket.create_connection(("127.0.0.1", self.server.ports[listener]), DEADLINE)

    def tls(self, **more):
        return self.server.tls(**more).wrap_socket(self.raw(), server_hostname="localhost")

    def s_client(self, *args, port=1, request=LAST, check=True):
        """What openssl s_client says, the answer included."""
        return run("sh", "-c", 'printf %b "$0" | openssl s_client -connect "$@" 2>&1',
                   request.decode().replace("\r", "\\r").replace("\n", "\\n"),
                   f"localhost:{self.server.ports[port]}", "-ign_eof", "-CAfile", self.server.root,
                   *args, check=check).stdout

    def alive(self):
        self.assertEqual(self.server.get(self.server.public, "/healthz").status, 200)


class Tls(Base):
    # --- versions and sessions ---

    def test_openssl_versions(self):
        for version, suite in ("-tls1_2", "ECDHE-ECDSA-AES128-GCM-SHA256"), \
                              ("-tls1_3", "TLS_AES_128_GCM_SHA256"):
            with self.subTest(version=version):
                got = self.s_client(version, "-alpn", "h2,http/1.1", check=False)
                self.assertIn("HTTP/1.1 200 OK", got)
                self.assertIn("Verify return code: 0 (ok)", got)
                self.assertIn("ALPN protocol: http/1.1", got)
                self.assertRegex(got, rf"Cipher is ({suite}|ECDHE-RSA-AES128-GCM-SHA256)")
                self.assertIn("Server Temp Key: X25519", got)
                self.assertIn("Compression: NONE", got)

    def test_old_versions_are_refused(self):
        for version in ("-tls1_1", "-tls1"):
            got = self.s_client(version, "-cipher", "ALL:@SECLEVEL=0", check=False)
            self.assertIn("Cipher is (NONE)", got)
            self.assertNotIn("200 OK", got)
        self.assertNotIn("200 OK", self.s_client("-tls1_2", "-cipher", "ECDHE+AES+SHA256:AES128-SHA",
                                                 check=False))
        self.alive()

    def test_resumption_with_a_client_certificate(self):
        kept = os.path.join(self.server.dir, "session")
        for version in "-tls1_2", "-tls1_3":
            with self.subTest(version=version):
                args = (version, "-cert", self.mine, "-key", self.mine)
                self.assertIn("\nNew, ", self.s_client(*args, "-sess_out", kept, check=False))
                got = self.s_client(*args, "-sess_in", kept, check=False)
                self.assertIn("\nReused, ", got)
                self.assertIn("HTTP/1.1 200 OK", got)
                # a session of the one listener is none of the other, which asked for nothing
                self.assertIn("\nNew, ", self.s_client(*args, "-sess_in", kept, port=0, check=False))

    def test_renegotiation_is_refused(self):
        got = run("sh", "-c", '(echo R; printf %b "$1") | openssl s_client -connect "$0" -tls1_2 2>&1',
                  f"localhost:{self.server.ports[0]}", LAST.decode(), check=False).stdout
        self.assertIn("RENEGOTIATING", got)
        self.assertEqual(got.count("verify return:"), 2)  # one handshake's, of two certificates
        self.assertNotIn("200 OK", got)
        self.alive()

    def test_key_update(self):
        got = run("sh", "-c", '(echo K; printf "%b" "$1") | openssl s_client -connect "$0" -tls1_3 '
                  '-CAfile "$2" 2>&1; true', f"localhost:{self.server.ports[0]}",
                  LAST.decode().replace("\r", "\\r").replace("\n", "\\n"), self.server.root).stdout
        self.assertIn("KEYUPDATE", got)
        self.alive()

    def test_gnutls_and_curl(self):
        port = self.server.ports[0]
        for version in "1.2", "1.3":
            got = run("sh", "-c", f'printf "%b" "$0" | gnutls-cli --x509cafile="$1" -p {port} '
                      f'--priority=NORMAL:-VERS-ALL:+VERS-TLS{version} localhost 2>&1',
                      LAST.decode().replace("\r", "\\r").replace("\n", "\\n"), self.server.root,
                      check=False).stdout
            self.assertIn("HTTP/1.1 200 OK", got)
            self.assertIn(f"TLS{version}", got)
        url = f"{self.server.public}/healthz"
        got = run("curl", "-sv", "--cacert", self.server.root, url, url, url)
        self.assertEqual(got.stderr.count("< HTTP/1.1 200"), 3)
        self.assertEqual(got.stderr.count("* Connected to"), 1)

    def test_reload_keeps_running_connections(self):
        with self.tls() as s:
            before = self.server.tail(100000).count("server.reloaded")
            self.server.process.send_signal(signal.SIGHUP)
            wait_for("the reload",
                     lambda: self.server.tail(100000).count("server.reloaded") > before)
            s.sendall(LAST)
            self.assertIn(b"200 OK", rest(s)[0])
        self.alive()

    # --- bytes ---

    def test_one_byte_a_record(self):
        with self.tls() as s:
            for byte in LAST:
                s.send(bytes([byte]))
            got, how = rest(s)
        self.assertTrue(got.startswith(b"HTTP/1.1 200"), got)
        self.assertEqual(how, "")  # close_notify came: else Python tells of a broken end

    def test_pipelined(self):
        with self.tls() as s:
            s.sendall(GET * 50 + LAST)
            self.assertEqual(rest(s)[0].count(b"HTTP/1.1 200"), 51)

    def test_large_bodies(self):
        rows = [f"T{i:05},{'n' * 200}" for i in range(900)]
        csv = ("serial,name\n" + "\n".join(rows) + "\n").encode()
        got = self.server.api("POST", "/api/v1/inventory/import?source=big", csv,
                              content_type="text/csv")
        self.assertIn(got.status, (200, 201, 202), got)
        got = self.server.api("GET", "/api/v1/inventory/devices?limit=1000")
        self.assertEqual((got.status, len(got.json["devices"])), (200, 900))
        self.assertGreater(len(got.body), 200000)


class Silent(Base):
    """Clients that never get to a handshake: nothing depends on how fast they are."""
    idle = 2
    settings = {"server-idle_timeout": f"{idle}s", "server-body_timeout": "1s"}

    def test_garbage(self):
        for listener in 0, 1:
            for text in (b"\0" * 300, b"\x16\x03\x01\x40\x01" + b"a" * 20000, os.urandom(5000), GET,
                         b"\x16\x03\x01\xff\xff", b"\x15\x03\x03\x00\x02\x02\x28",
                         b"\x80\x2e\x01\x00\x02" + b"a" * 50):
                with self.raw(listener) as s:
                    s.sendall(text)
                    self.assertNotIn(b"HTTP/1.1", rest(s)[0])
        self.alive()

    def test_handshake_deadline(self):
        start = time.monotonic()
        with self.raw() as silent, self.raw() as cut:
            cut.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 40)
            rest(silent)
            rest(cut)
        self.assertGreater(time.monotonic() - start, self.idle - 0.5)
        self.assertLess(time.monotonic() - start, DEADLINE)
        self.alive()


class Slow(Base):
    """Time enough for a handshake on any machine."""
    settings = {"server-idle_timeout": "10s", "server-body_timeout": "5s"}

    def test_idle_and_slow(self):
        with self.tls() as idle, self.tls() as slow:
            slow.sendall(b"POST /acme/new-order HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\na")
            self.assertEqual(rest(idle), (b"", ""))
            self.assertTrue(re.match(rb"HTTP/1.1 408", rest(slow)[0]))

    def test_who_does_not_read(self):
        """Answers that nobody takes stop the requests, in a bounded number of bytes; then a cut."""
        with self.tls() as s:
            s.settimeout(0.5)
            sent = 0
            with self.assertRaises(OSError):
                while sent < 64 << 20:
                    sent += s.send(GET * 100)
            self.assertLess(sent, 16 << 20)
            self.alive()
            wait_for("the cut", lambda: self.gone(s))

    @staticmethod
    def gone(s):
        """Whether the kernel knows of no open peer: TCP_INFO's state is not ESTABLISHED."""
        return s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 1


if __name__ == "__main__":
    unittest.main()
