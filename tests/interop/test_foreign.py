"""What foreign programs make of our certificates, OCSP answers, profiles and TLS."""
import base64
import os
import plistlib
import shutil
import subprocess
import unittest
import urllib.parse

from testudo import Server, run


def tool(name):
    return unittest.skipUnless(shutil.which(name), f"{name} is not installed")


class Foreign(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.server.init()
        cls.server.start()
        summary = cls.server.fleet(3, None, "--prefix", "FRN")
        assert summary["enrolled"] == 3, summary
        cls.issuing = os.path.join(cls.server.dir, "ca/issuing.crt")
        cls.leaf = cls.pem("FRN0000001")
        cls.gone = cls.pem("FRN0000002")
        cls.server.api("DELETE", "/api/v1/inventory/devices/FRN0000002")

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    @classmethod
    def pem(cls, serial):
        path = os.path.join(cls.server.dir, serial + ".crt")
        with open(path, "w", encoding="ascii") as f:
            f.write(cls.server.certificates(serial)[0]["pem"])
        return path

    # --- certificates ---

    def test_openssl_verify_strict(self):
        done = run("openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile",
                   self.server.root, "-untrusted", self.issuing, self.leaf)
        self.assertIn(": OK", done.stdout)

    def test_openssl_other_purposes_fail(self):
        for purpose in ("sslserver", "smimesign"):
            done = run("openssl", "verify", "-purpose", purpose, "-CAfile", self.server.root,
                       "-untrusted", self.issuing, self.leaf, check=False)
            self.assertNotEqual(done.returncode, 0, purpose)

    def test_permanent_identifier_bytes(self):
        """RFC 4043 as in the reference: A0 L OID A0 L 30 L 0C L serial."""
        text = run("openssl", "x509", "-in", self.leaf, "-noout", "-ext", "subjectAltName").stdout
        self.assertIn("othername", text)
        der = subprocess.run(["openssl", "x509", "-in", self.leaf, "-outform", "der"],
                             capture_output=True, check=True).stdout
        serial = b"FRN0000001"
        n = len(serial)
        value = bytes([0x30, n + 2, 0x0C, n]) + serial
        name = bytes.fromhex("06082b06010505070803") + bytes([0xA0, len(value)]) + value
        self.assertIn(bytes([0xA0, len(name)]) + name, der)

    @tool("certtool")
    def test_gnutls_verifies_the_chain(self):
        chain = b"".join(open(p, "rb").read() for p in (self.leaf, self.issuing, self.server.root))
        done = subprocess.run(["certtool", "--verify-chain"], input=chain, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stdout[-600:])

    # --- OCSP ---

    def ocsp(self, cert, *more):
        done = run("openssl", "ocsp", "-issuer", self.issuing, *more, "-cert", cert, "-url",
                   f"{self.server.status}/ocsp", "-CAfile", self.server.root, check=False)
        self.assertIn("Response verify OK", done.stderr)
        return done.stdout + done.stderr

    def test_ocsp_good_and_revoked(self):
        for more in ([], ["-no_nonce"], ["-sha256"], ["-sha256", "-no_nonce"]):
            with self.subTest(more):
                self.assertIn(": good", self.ocsp(self.leaf, *more))
                text = self.ocsp(self.gone, *more)
                self.assertIn(": revoked", text)
                self.assertIn("cessationOfOperation", text)

    def test_ocsp_nonce_is_echoed(self):
        self.assertNotIn("no nonce", self.ocsp(self.leaf))

    def test_ocsp_revoked_by_the_next_request(self):
        cert = self.pem("FRN0000003")
        self.assertIn(": good", self.ocsp(cert, "-no_nonce"))
        self.assertIn(": good", self.ocsp(cert, "-no_nonce"))
        self.server.api("DELETE", "/api/v1/inventory/devices/FRN0000003")
        self.assertIn(": revoked", self.ocsp(cert, "-no_nonce"))

    def test_ocsp_never_good_for_a_serial_never_issued(self):
        done = run("openssl", "ocsp", "-issuer", self.issuing, "-serial", "0x1234567890ABCDEF",
                   "-url", f"{self.server.status}/ocsp", "-CAfile", self.server.root, check=False)
        self.assertIn(": unknown", done.stdout)

    def test_ocsp_of_another_issuer(self):
        done = run("openssl", "ocsp", "-issuer", self.server.root, "-serial", "0x01",
                   "-url", f"{self.server.status}/ocsp", "-CAfile", self.server.root, check=False)
        self.assertIn("unauthorized", done.stdout + done.stderr)

    def test_ocsp_get(self):
        request = os.path.join(self.server.dir, "r.der")
        run("openssl", "ocsp", "-issuer", self.issuing, "-cert", self.leaf, "-no_nonce", "-reqout",
            request)
        with open(request, "rb") as f:
            text = base64.b64encode(f.read()).decode()
        answers = set()
        for path in ("/ocsp/" + urllib.parse.quote(text, safe=""), "/ocsp/" + text,
                     "/ocsp//" + text):
            answer = self.server.get(self.server.status, path)
            self.assertEqual(answer.status, 200, path)
            self.assertEqual(answer.headers["Content-Type"], "application/ocsp-response")
            self.assertIn("max-age", answer.headers["Cache-Control"])
            answers.add(answer.body)
        self.assertEqual(len(answers), 1)
        path = os.path.join(self.server.dir, "a.der")
        with open(path, "wb") as f:
            f.write(answers.pop())
        done = run("openssl", "ocsp", "-respin", path, "-issuer", self.issuing, "-cert", self.leaf,
                   "-CAfile", self.server.root)
        self.assertIn(": good", done.stdout)

    def test_ocsp_malformed(self):
        for body in (b"", b"\x30", b"x" * 5000, b"\x30\x80" * 2000):
            answer = self.server.request(self.server.status, "POST", "/ocsp", body,
                                         {"Content-Type": "application/ocsp-request"})
            self.assertEqual((answer.status, answer.body), (200, b"\x30\x03\x0a\x01\x01"))
        big = self.server.request(self.server.status, "POST", "/ocsp", b"x" * 10241,
                                  {"Content-Type": "application/ocsp-request"})
        self.assertEqual(big.status, 413)

    @tool("ocsptool")
    def test_gnutls_ocsptool(self):
        for cert, word in ((self.leaf, "good"), (self.gone, "revoked")):
            done = run("ocsptool", "--ask=" + self.server.status + "/ocsp", "--load-issuer",
                       self.issuing, "--load-cert", cert, "--load-trust", self.issuing)
            self.assertIn("Certificate Status: " + word, done.stdout)
            self.assertIn("Verifying OCSP Response: Success", done.stdout)

    # --- profiles ---

    def test_profile_is_signed_and_complete(self):
        self.server.put_device("FRNPROF")
        url = self.server.invite("FRNPROF")
        signed = self.server.get(self.server.public, url.removeprefix(self.server.public)).body
        path = os.path.join(self.server.dir, "profile.der")
        with open(path, "wb") as f:
            f.write(signed)
        done = subprocess.run(["openssl", "cms", "-verify", "-inform", "der", "-in", path,
                               "-CAfile", self.server.root, "-purpose", "any"],
                              capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        profile = plistlib.loads(done.stdout)
        payloads = {p["PayloadType"]: p for p in profile["PayloadContent"]}
        acme, mdm = payloads["com.apple.security.acme"], payloads["com.apple.mdm"]
        self.assertEqual(acme["DirectoryURL"], self.server.public + "/acme/management/directory")
        self.assertTrue(acme["HardwareBound"] and acme["Attest"])
        self.assertEqual((acme["KeyType"], acme["KeySize"]), ("ECSECPrimeRandom", 256))
        self.assertGreaterEqual(len(acme["ClientIdentifier"]), 22)
        self.assertEqual(mdm["IdentityCertificateUUID"], acme["PayloadUUID"])
        self.assertEqual(mdm["ServerURL"], self.server.device + "/mdm/connect")
        self.assertIn("com.apple.security.root", payloads)

    # --- TLS clients ---

    @tool("curl")
    def test_curl_mutual_tls(self):
        udid = self.server.udid("FRN0000001")
        body = plistlib.dumps({"Status": "Idle", "UDID": udid})
        path = os.path.join(self.server.dir, "idle.plist")
        with open(path, "wb") as f:
            f.write(body)
        for version in ("--tlsv1.2", "--tlsv1.3"):
            limit = ["--tls-max", version[-3:]]
            done = run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", version, *limit,
                       "--cacert", self.server.root, "--cert", self.server.identity("FRN0000001"),
                       "-X", "PUT", "-H", "Content-Type: application/x-apple-aspen-mdm",
                       "--data-binary", "@" + path, self.server.device + "/mdm/connect")
            self.assertEqual(done.stdout, "200")

    @tool("openssl")
    def test_old_tls_is_refused(self):
        done = subprocess.run(["openssl", "s_client", "-connect",
                               f"127.0.0.1:{self.server.ports[0]}", "-tls1_1", "-cipher",
                               "ALL:@SECLEVEL=0"], input=b"", capture_output=True)
        self.assertNotEqual(done.returncode, 0)

    @tool("openssl")
    def test_session_tickets(self):
        """A second connection resumes (quirk of libmicrohttpd: tickets are ours to switch on)."""
        session = os.path.join(self.server.dir, "session")
        base = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.server.ports[0]}", "-CAfile",
                self.server.root, "-tls1_2"]
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        subprocess.run([*base, "-sess_out", session, "-ign_eof"], input=request,
                       capture_output=True, timeout=60)
        done = subprocess.run([*base, "-sess_in", session, "-ign_eof"], input=request,
                              capture_output=True, timeout=60)
        self.assertIn(b"Reused", done.stdout)

    @tool("node")
    def test_node_mutual_tls(self):
        script = """
const https = require('https'), fs = require('fs');
const [root, id, url] = process.argv.slice(1);
const pem = fs.readFileSync(id);
const req = https.request(url, {method: 'PUT', ca: fs.readFileSync(root), cert: pem, key: pem,
  headers: {'Content-Type': 'application/x-apple-aspen-mdm'}}, res => {
    console.log(res.statusCode, req.socket.getProtocol(), req.socket.authorized);
    res.resume();
});
req.end('<?xml version="1.0"?><plist version="1.0"><dict><key>Status</key><string>Idle</string>' +
  '<key>UDID</key><string>' + process.argv[4] + '</string></dict></plist>');
"""
        udid = self.server.udid("FRN0000001")
        done = run("node", "-e", script, self.server.root, self.server.identity("FRN0000001"),
                   self.server.device + "/mdm/connect", udid)
        self.assertEqual(done.stdout.split(), ["200", "TLSv1.3", "true"])


if __name__ == "__main__":
    unittest.main()
