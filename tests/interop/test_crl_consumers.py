"""Who reads CRLs: PostgreSQL and OpenVPN from the exported file, openssl from the distribution point;
and the plain OCSP clients, openssl ocsp and ocsptool, with a certificate that is on hold."""
import os
import re
import shutil
import signal
import subprocess
import sys
import unittest

from relying import Relying, find, read, run, tool
from testudo import DEADLINE, free_ports, wait_for

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
import pg  # noqa: E402


def alone(path):
    """Certificate and key of an identity in files of their own, as some programs want them."""
    pems = re.findall(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n", read(path).decode(), re.S)
    assert len(pems) == 2, pems
    blocks = re.findall(r"-----BEGIN.*?-----END [A-Z ]+-----\n", read(path).decode(), re.S)
    names = path + ".crt", path + ".key"
    for block in blocks:
        name = names["PRIVATE KEY" in block]
        with open(name, "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write(block)
    return names


@unittest.skipUnless(pg.BIN, "PostgreSQL 15 is not installed")
@tool("psql")
class PostgreSQL(unittest.TestCase):
    """The hook tells it: no step by hand between the revocation and the refusal."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = c = pg.Cluster(tcp=True, ssl="on")
        cls.addClassCleanup(c.remove)
        c.init()
        hook = os.path.join(c.dir, "reload")
        with open(hook, "w", encoding="ascii") as f:
            f.write(f"#!/bin/sh\nread pid <{c.data}/postmaster.pid && kill -HUP \"$pid\"\n")
        os.chmod(hook, 0o755)
        cls.crl = os.path.join(c.dir, "ca.crl.pem")
        cls.relying = r = Relying("PGC", 3, **{"ca-crl_export": cls.crl, "ca-crl_hook": hook})
        cls.addClassCleanup(r.close)
        wait_for("the exported CRL", lambda: os.path.exists(cls.crl))
        for name, data in (("srv.pem", read(r.chain)), ("srv.key", read(r.key)),
                           ("ca.pem", read(r.bundle))):
            path = os.path.join(c.dir, name)
            with open(path, "wb", opener=lambda p, f: os.open(p, f, 0o600)) as f:
                f.write(data)
            if os.getuid() == 0:
                os.chown(path, pg.owner()["user"], pg.owner()["group"])
        c.settings.update(ssl_cert_file=f"{c.dir}/srv.pem", ssl_key_file=f"{c.dir}/srv.key",
                          ssl_ca_file=f"{c.dir}/ca.pem", ssl_crl_file=cls.crl)
        c.configure()
        with open(f"{c.data}/pg_hba.conf", "w", encoding="ascii") as f:
            f.write("local all postgres trust\n"
                    "hostssl all all 127.0.0.1/32 cert clientname=CN map=dev\n")
        with open(f"{c.data}/pg_ident.conf", "w", encoding="ascii") as f:
            f.write("dev /^PGC.*$ devices\n")
        c.start()
        run("psql", f"host={c.dir} port={c.port} user=postgres dbname=postgres", "-c",
            "CREATE ROLE devices LOGIN")

    def connect(self, n):
        certificate, key = alone(self.relying.identity(n))
        return run("psql", f"host=localhost port={self.cluster.port} user=devices dbname=postgres "
                   f"sslmode=verify-full sslrootcert={self.relying.server.root} "
                   f"sslcert={certificate} sslkey={key}", "-tAc",
                   "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()", check=False)

    def refused(self, n):
        done = self.connect(n)
        return done.returncode != 0 and "certificate revoked" in done.stderr

    def test_hold_release_revoke(self):
        done = self.connect(1)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("CN=" + self.relying.serial(1), done.stdout)
        self.relying.hold(1)
        wait_for("PostgreSQL refuses the certificate on hold", lambda: self.refused(1))
        self.assertEqual(self.connect(2).returncode, 0)
        self.relying.release(1)
        wait_for("PostgreSQL lets it in again", lambda: self.connect(1).returncode == 0)
        self.relying.leave(3)
        wait_for("PostgreSQL refuses the device that left", lambda: self.refused(3))

    def test_the_file_goes_on_without_the_server(self):
        self.relying.down()
        self.assertEqual(self.connect(2).returncode, 0)
        self.relying.server.start()


@tool("openvpn")
class OpenVPN(unittest.TestCase):
    """--crl-verify: it looks at the file by itself."""

    @classmethod
    def setUpClass(cls):
        cls.folder = os.path.join("/tmp", f"td-ovpn-{os.getpid()}")
        os.mkdir(cls.folder)
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.crl = os.path.join(cls.folder, "ca.pem")
        cls.relying = Relying("VPN", 2, **{"ca-crl_export": cls.crl})
        cls.addClassCleanup(cls.relying.close)
        wait_for("the exported CRL", lambda: os.path.exists(cls.crl))

    def verdict(self, n):
        """What the server says of one handshake."""
        r = self.relying
        port = free_ports(1)[0]
        log = os.path.join(self.folder, "log")
        common = ["--dev", "null", "--ca", r.bundle, "--proto", "udp", "--verb", "3",
                  "--data-ciphers", "AES-256-GCM"]
        with open(log, "wb") as out:
            server = subprocess.Popen(
                [find("openvpn"), *common, "--mode", "p2p", "--tls-server", "--cert", r.chain,
                 "--key", r.key, "--dh", "none", "--crl-verify", self.crl, "--remote-cert-tls",
                 "client", "--port", str(port), "--local", "127.0.0.1"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            certificate, key = alone(r.identity(n))
            client = subprocess.Popen(
                [find("openvpn"), *common, "--tls-client", "--cert", certificate, "--key", key,
                 "--remote", "127.0.0.1", str(port), "--remote-cert-tls", "server", "--nobind",
                 "--hand-window", "20"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
            try:
                return wait_for("OpenVPN's verdict", lambda: re.search(
                    rb"VERIFY OK: depth=0|VERIFY ERROR: [^\n]*", read(log))).group(0).decode()
            finally:
                for p in (client, server):
                    p.send_signal(signal.SIGTERM)
                    p.wait(DEADLINE)

    def test_good_and_held(self):
        self.assertIn("VERIFY OK", self.verdict(1))
        self.relying.hold(1)
        wait_for("the CRL lists it", lambda: b"\n" in read(self.crl) and self.listed(1))
        self.assertIn("certificate revoked", self.verdict(1))
        self.assertIn("VERIFY OK", self.verdict(2))

    def listed(self, n):
        serial = self.relying.server.certificates(self.relying.serial(n))[0]["serial"]
        text = run("openssl", "crl", "-in", self.crl, "-noout", "-text").stdout
        return serial.upper() in text


class OpenSSL(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.relying = Relying("OSL", 5)
        cls.addClassCleanup(cls.relying.close)
        cls.certs = {n: cls.relying.cert(n) for n in range(1, 6)}

    def verify(self, n, *more):
        r = self.relying
        done = run("openssl", "verify", "-crl_check", "-extended_crl", *more, "-CAfile", r.server.root,
                   "-untrusted", r.issuing, self.certs[n], check=False)
        return done.returncode, done.stdout + done.stderr

    def ocsp(self, n):
        r = self.relying
        done = run("openssl", "ocsp", "-issuer", r.issuing, "-cert", self.certs[n], "-url",
                   r.status + "/ocsp", "-CAfile", r.server.root, check=False)
        return done.stdout + done.stderr

    def test_1_crl_of_the_distribution_point(self):
        """-crl_download takes the shard that the certificate names; its IDP has to be the same."""
        status, text = self.verify(1, "-crl_download")
        self.assertEqual(status, 0, text)
        self.relying.hold(1)
        status, text = self.verify(1, "-crl_download")
        self.assertIn("certificate revoked", text)
        self.relying.release(1)
        self.assertEqual(self.verify(1, "-crl_download")[0], 0)
        self.relying.revoke(1)
        self.assertIn("certificate revoked", self.verify(1, "-crl_download")[1])

    def test_2_another_shard_says_nothing(self):
        """A CRL of another part is no word on this certificate."""
        r = self.relying
        mine = run("openssl", "x509", "-in", self.certs[2], "-noout", "-ext",
                   "crlDistributionPoints").stdout.split("URI:" + r.status)[1].strip()
        points = r.points()
        for path in (mine, next(p for p in points if p != mine)):
            pem = r.file("shard.pem", b"")
            run("openssl", "crl", "-inform", "der", "-in", r.file("shard.crl", points[path]), "-out", pem)
            status, text = self.verify(2, "-CRLfile", pem)
            if path == mine:
                self.assertEqual(status, 0, text)
            else:
                self.assertNotEqual(status, 0)
                self.assertIn("different CRL scope", text)

    def test_3_complete_crl_and_whole_chain(self):
        r = self.relying
        r.hold(3)
        bundle = r.file("all.pem", r.server.get(r.status, "/crl/all.pem").body)
        status, text = self.verify(4, "-crl_check_all", "-CRLfile", bundle)
        self.assertEqual(status, 0, text)
        self.assertIn("certificate revoked", self.verify(3, "-crl_check_all", "-CRLfile", bundle)[1])

    def test_4_ocsp_of_a_certificate_on_hold(self):
        self.assertIn(": good", self.ocsp(4))
        self.relying.hold(4)
        text = self.ocsp(4)
        self.assertIn(": revoked", text)
        self.assertIn("certificateHold", text)
        self.relying.release(4)
        self.assertIn(": good", self.ocsp(4))

    @tool("ocsptool")
    def test_5_ocsptool(self):
        r = self.relying
        for act, word in ((None, "good"), (r.hold, "revoked"), (r.release, "good")):
            if act:
                act(5)
            done = run("ocsptool", "--ask=" + r.status + "/ocsp", "--load-issuer", r.issuing,
                       "--load-cert", self.certs[5], "--load-trust", r.issuing)
            self.assertIn("Certificate Status: " + word, done.stdout)
            self.assertIn("Verifying OCSP Response: Success", done.stdout)

    def test_6_responder_down(self):
        self.relying.down()
        self.assertNotIn(": good", self.ocsp(5))
        status, text = self.verify(5)  # -crl_download of OpenSSL 3.0 never ends without a server
        self.assertNotEqual(status, 0)
        self.assertIn("unable to get certificate CRL", text)
        done = run("ocsptool", "--ask=" + self.relying.status + "/ocsp", "--load-issuer",
                   self.relying.issuing, "--load-cert", self.certs[5], check=False)
        self.assertNotEqual(done.returncode, 0)


if __name__ == "__main__":
    unittest.main()
