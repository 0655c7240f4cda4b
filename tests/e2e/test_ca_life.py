"""An issuing CA outside its life: nothing is issued and everybody is told why; the server, OCSP and
CRLs go on; a rotation ends it without a restart."""
import os
import re
import ssl
import subprocess
import time
import unittest

from test_ca_keys import ca, ids, reload, write
from testudo import Server, run, wait_for

DAY = 86400


def tlv(der):
    """Length of the header and of the whole of the DER value that begins here."""
    n, head = der[1], 2
    if n & 0x80:
        head += n & 0x7F
        n = int.from_bytes(der[2:head], "big")
    return head, head + n


def sequence(content):
    n = len(content)
    size = bytes([n]) if n < 128 else b"\x82" + n.to_bytes(2, "big")
    return b"\x30" + size + content


def with_life(pem, key, begins, ends):
    """The same certificate with another life, signed anew. openssl's own tools would change more."""
    der = ssl.PEM_cert_to_DER_cert(pem)
    body = der[tlv(der)[0]:]
    tbs, rest = body[:tlv(body)[1]], body[tlv(body)[1]:]
    algorithm = rest[:tlv(rest)[1]]
    utc = [time.strftime("%y%m%d%H%M%SZ", time.gmtime(t)).encode() for t in (begins, ends)]
    tbs, n = re.subn(rb"\x17\x0d\d{12}Z\x17\x0d\d{12}Z",
                     b"\x17\x0d" + utc[0] + b"\x17\x0d" + utc[1], tbs)
    assert n == 1
    signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=tbs,
                            capture_output=True, check=True).stdout
    bits = b"\x03" + bytes([len(signed) + 1]) + b"\x00" + signed
    return ssl.DER_cert_to_PEM_cert(sequence(tbs + algorithm + bits))


class Life(unittest.TestCase):
    """One server after the other on the same directory."""

    def setUp(self):
        self.s = Server(renewal__period="1").__enter__()
        self.addCleanup(self.s.__exit__, None, None, None)
        self.s.fleet(2)
        self.serials = sorted(f[:-7] for f in os.listdir(self.s.fleet_dir) if f.endswith(".device"))
        self.issuing = os.path.join(self.s.dir, "ca", "issuing.crt")
        self.folders = 0
        with open(self.issuing, encoding="ascii") as f:
            self.first = f.read()
        # what relying parties have, with the life it began with
        self.issuer = write(os.path.join(self.s.dir, "issuer.pem"), self.first.encode())

    def restart(self, begins, ends):
        """The server comes back to a day outside the issuing CA's life."""
        s = self.s
        self.assertEqual(s.stop(), 0)
        now = int(time.time())
        write(self.issuing, with_life(self.first, os.path.join(s.dir, "ca", "root.key"),
                                      now + begins, now + ends).encode())
        s.start()

    def cert(self, serial):
        """The certificate of a device in a file."""
        with open(self.s.identity(serial), encoding="ascii") as f:
            pem = re.search(r"-----BEGIN CERT.*?-----END CERTIFICATE-----", f.read(), re.S).group(0)
        return write(os.path.join(self.s.dir, serial + ".crt"), (pem + "\n").encode())

    def ocsp(self, serial, *args):
        return run("openssl", "ocsp", "-issuer", self.issuer, "-cert", self.cert(serial), "-url",
                   self.s.status + "/ocsp", "-CAfile", self.s.root, *args, check=False)

    def status(self, serial, *args):
        done = self.ocsp(serial, *args)
        self.assertIn("Response verify OK", done.stderr, done.stdout)
        return re.search(r": (\w+)\n", done.stdout).group(1)

    def crl(self, path="/crl/issuing.crl"):
        answer = self.s.get(self.s.status, path)
        self.assertEqual(answer.status, 200, answer)
        der = write(os.path.join(self.s.dir, "crl.der"), answer.body)
        done = run("openssl", "crl", "-inform", "DER", "-in", der, "-CAfile", self.issuer, "-noout",
                   "-text")
        self.assertIn("verify OK", done.stderr)
        return done.stdout

    def number(self, serial):
        return run("openssl", "x509", "-in", self.cert(serial), "-noout",
                   "-serial").stdout.strip()[7:]

    def enrol(self, serial, check=True):
        s = self.s
        s.put_device(serial)
        listed = write(os.path.join(s.dir, "one.csv"), f"serial\n{serial}\n".encode())
        self.folders += 1
        return s.sim("fleet", *s.sim_args, "--inventory", listed, "--state",
                     os.path.join(s.dir, f"more{self.folders}"), "--json", check=check)

    def refused(self, serial, reason, says):
        """newOrder is refused; the device learns that it is no fault of its own, we learn why."""
        done = self.enrol(serial, check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertIn("serverInternal", done.stdout + done.stderr)
        self.assertNotIn(says, done.stdout + done.stderr)
        told = [a for a in self.s.attempts(serial) if a["reason"] == reason]
        self.assertTrue(told, self.s.attempts(serial))
        self.assertIn(says, told[0]["detail"])
        self.assertEqual(told[0]["outcome"], "refused")
        orders = self.s.database().execute("SELECT COUNT(*) FROM acme_orders WHERE "
                                           f"serial = '{serial}'").fetchone()[0]
        self.assertEqual(orders, 0)

    def degraded(self, says):
        answer = self.s.get(self.s.status, "/readyz")
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.body.startswith(b"degraded: nothing is issued: "), answer)
        self.assertIn(says, answer.body.decode())
        self.assertIn("signer.issues_nothing", self.s.tail(10000))

    def test_expired(self):
        s = self.s
        old = ids(s)[0]
        self.assertEqual(s.get(s.status, "/readyz").body, b"ready\n")
        self.assertEqual(s.api("DELETE", f"/api/v1/inventory/devices/{self.serials[0]}").status, 204)
        self.restart(-400 * DAY, -DAY)
        self.degraded("expired")
        self.refused("LATE0000001", "issuer-expired", f"the issuing CA {old} expired")
        status = ca(s, "status").stdout
        self.assertRegex(status, rf"issuing  {old}  expired")
        self.assertIn("do now   testudo ca rotate: the issuing CA expired", status)

        # statuses: the CA's own key signs, as nothing below it can be valid
        for nonce in ((), ("-no_nonce",)):
            self.assertEqual(self.status(self.serials[0], *nonce), "revoked")
            self.assertEqual(self.status(self.serials[1], *nonce), "good")
        text = self.ocsp(self.serials[1], "-resp_text").stdout
        self.assertNotIn("OCSP Responder", text)
        self.assertIn(self.number(self.serials[0]), self.crl())
        self.assertEqual(s.get(s.status, "/crl/all.pem").body.count(b"BEGIN X509 CRL"), 2)
        # a client that was given the root alone finds that CA, expired, and does not believe it
        answer = os.path.join(s.dir, "ocsp.der")
        self.ocsp(self.serials[1], "-respout", answer, "-no_nonce")
        alone = ("openssl", "ocsp", "-respin", answer, "-CAfile", s.root)
        self.assertIn("certificate has expired", run(*alone, check=False).stderr)
        self.assertIn("Response verify OK", run(*alone, "-no_check_time", check=False).stderr)
        # no device is told to renew in vain
        s.database().execute("UPDATE certificates SET renew_at = 1 WHERE device_serial = "
                             f"'{self.serials[1]}'")
        rounds = s.tail(10000).count("event=renew.waits")
        wait_for("the renewer looked", lambda: s.tail(10000).count("event=renew.waits") > rounds + 1)
        self.assertNotIn("event=renew.pushed", s.tail(10000))
        # who is enrolled is managed as before
        s.connect("--serial", self.serials[1])

        ca(s, "rotate")
        reload(s)
        new = ids(s)[0]
        self.assertNotEqual(new, old)
        self.assertEqual(s.get(s.status, "/readyz").body, b"ready\n")
        self.enrol("LATE0000001")
        wait_for("the renewal", lambda: "event=renew.pushed" in s.tail(10000))
        # and the old one's statuses go on for a while
        self.assertEqual(self.status(self.serials[0]), "revoked")
        self.assertIn(self.number(self.serials[0]), self.crl(f"/crl/{old}/all.crl"))
        self.assertRegex(ca(s, "status").stdout, rf"issuing  {new}  active")

        # until its files are moved away: then nobody answers for it, and the rest goes on
        for ending in ("crt", "key"):
            os.remove(os.path.join(s.dir, "ca", f"issuing-{old}.{ending}"))
        reload(s)
        self.assertIn("unauthorized", self.ocsp(self.serials[0]).stdout)
        self.assertEqual(s.get(s.status, f"/crl/{old}/all.crl").status, 404)
        self.assertEqual(s.get(s.status, "/crl/all.pem").body.count(b"BEGIN X509 CRL"), 2)

    def test_long_expired(self):
        """Behind 30 days an older one is left out."""
        s = self.s
        old = ids(s)[0]
        self.restart(-400 * DAY, -31 * DAY)
        self.assertEqual(self.status(self.serials[0]), "good")  # the active one is never left out
        ca(s, "rotate")
        reload(s)
        self.assertIn("unauthorized", self.ocsp(self.serials[0]).stdout)
        self.assertEqual(s.get(s.status, f"/crl/{old}/all.crl").status, 404)
        self.enrol("LATE0000002")

    def test_not_yet(self):
        """A clock that is behind, or a CA that was made for later."""
        s = self.s
        old = ids(s)[0]
        self.restart(DAY, 400 * DAY)
        self.degraded("is the clock right?")
        self.refused("EARLY000001", "issuer-early", f"the issuing CA {old} begins")
        self.assertEqual(self.status(self.serials[0]), "good")
        self.assertIn("No Revoked Certificates", self.crl())
        status = ca(s, "status").stdout
        self.assertRegex(status, rf"issuing  {old}  early")
        self.assertIn("do now   nothing is issued before", status)
        # the day comes while the server runs: nobody has to do anything
        self.restart(8, 400 * DAY)
        wait_for("the day", lambda: s.get(s.status, "/readyz").body == b"ready\n")
        self.enrol("EARLY000001")
        self.assertEqual(self.status(self.serials[0]), "good")
        self.assertIn("OCSP Responder", self.ocsp(self.serials[0], "-resp_text").stdout)
        metrics = s.get(s.status, "/metrics").body.decode()
        ends = re.search(r"^testudo_ca_ocsp_responder_not_after_timestamp_seconds (\d+)$", metrics,
                         re.M).group(1)
        self.assertTrue(13 * DAY < int(ends) - time.time() < 15 * DAY, ends)


if __name__ == "__main__":
    unittest.main()
