"""The CA's keys: rotation with overlap, a root that is offline, encryption, what is refused."""
import os
import re
import shutil
import signal
import tempfile
import unittest

from testudo import Server, program, run, wait_for


def ca(server, *words, check=True, **more):
    return run(program("testudo"), "ca", *words, f"--config={server.ini}", check=check, **more)


def ids(server):
    """Identifiers of the issuing CAs, the active one first."""
    return re.findall(r"^issuing  ([0-9a-f]{40})", ca(server, "status").stdout, re.M)


def reload(server):
    before = server.tail(100000).count("event=server.reload")
    server.process.send_signal(signal.SIGHUP)
    wait_for("reloaded", lambda: server.tail(100000).count("event=server.reload") > before)


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


class Rotation(unittest.TestCase):
    """Enrol, rotate, enrol another: both hold, each under its own issuing CA."""

    @classmethod
    def setUpClass(cls):
        cls.s = Server()
        cls.exported = cls.s.settings["ca-crl_export"] = os.path.join(cls.s.dir, "crls.pem")
        cls.s.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.s.__exit__(None, None, None)

    def fetch(self, url, name):
        """A CA certificate as the AIA names it, in PEM."""
        path = url.replace(self.s.status, "")
        answer = self.s.get(self.s.status, path)
        self.assertEqual(answer.status, 200, url)
        der = write(os.path.join(self.s.dir, name + ".der"), answer.body)
        pem = os.path.join(self.s.dir, name + ".pem")
        run("openssl", "x509", "-inform", "DER", "-in", der, "-out", pem)
        return pem

    def aia(self, cert):
        text = run("openssl", "x509", "-in", cert, "-noout", "-ext", "authorityInfoAccess").stdout
        return re.search(r"CA Issuers - URI:(\S+)", text).group(1)

    def number(self, cert):
        return run("openssl", "x509", "-in", cert, "-noout", "-serial").stdout.strip()[7:]

    def crl(self, issuer, cert):
        """The CRL that the certificate names, signed by that issuer."""
        text = run("openssl", "x509", "-in", cert, "-noout", "-ext", "crlDistributionPoints").stdout
        url = re.search(r"URI:(\S+)", text).group(1)
        answer = self.s.get(self.s.status, url.replace(self.s.status, ""))
        self.assertEqual(answer.status, 200, url)
        der = write(os.path.join(self.s.dir, "crl.der"), answer.body)
        done = run("openssl", "crl", "-inform", "DER", "-in", der, "-CAfile", issuer, "-noout",
                   "-text")
        self.assertIn("verify OK", done.stderr)
        return done.stdout

    def ocsp(self, issuer, cert):
        done = run("openssl", "ocsp", "-issuer", issuer, "-cert", cert, "-url",
                   self.s.status + "/ocsp", "-CAfile", self.s.root, "-no_nonce")
        self.assertIn("Response verify OK", done.stderr)
        return re.search(r": (\w+)\n", done.stdout).group(1)

    def test_overlap(self):
        s = self.s
        s.fleet(2)
        serials = sorted(f[:-7] for f in os.listdir(s.fleet_dir) if f.endswith(".device"))
        old_serial = serials[0]
        old = ids(s)
        self.assertEqual(len(old), 1)

        ca(s, "rotate")
        reload(s)
        both = ids(s)
        self.assertEqual(len(both), 2)
        self.assertEqual(both[1], old[0])

        other = os.path.join(s.dir, "second")
        self.enrol("ROTATED0001", other)
        new_cert = self.device_cert("ROTATED0001", other)
        old_cert = self.device_cert(old_serial, s.fleet_dir)

        issuers = {}
        for name, cert, ident in (("old", old_cert, both[1]), ("new", new_cert, both[0])):
            url = self.aia(cert)
            self.assertTrue(url.endswith(f"/ca/{ident}.crt"), url)
            issuers[name] = self.fetch(url, name)
            run("openssl", "verify", "-x509_strict", "-CAfile", s.root, "-untrusted",
                issuers[name], cert)
            self.assertEqual(self.ocsp(issuers[name], cert), "good")

        # the wrong issuer knows nothing of the number
        crossed = run("openssl", "ocsp", "-issuer", issuers["new"], "-serial",
                      "0x" + self.number(old_cert), "-url", s.status + "/ocsp", "-CAfile", s.root,
                      "-no_nonce")
        self.assertIn(": unknown", crossed.stdout)

        # served: the active one, all, none that is not ours
        active = s.get(s.status, "/ca/issuing.crt").body
        self.assertEqual(active, s.get(s.status, f"/ca/{both[0]}.crt").body)
        chain = s.get(s.status, "/ca/chain.pem").body.decode()
        self.assertEqual(chain.count("BEGIN CERTIFICATE"), 3)
        for path in (f"/ca/{'0' * 40}.crt", f"/ca/{both[0]}", f"/ca/{both[0]}.crt.crt", "/ca/x.crt"):
            self.assertEqual(s.get(s.status, path).status, 404, path)

        # both may speak to the server
        s.connect()
        s.sim("connect", "--state", other, "--cacert", s.root, "--all")

        # the old one is revoked, by the CA that is no longer active
        self.assertEqual(s.api("DELETE", f"/api/v1/inventory/devices/{old_serial}").status, 204)
        self.assertEqual(self.ocsp(issuers["old"], old_cert), "revoked")
        self.assertEqual(self.ocsp(issuers["new"], new_cert), "good")
        self.assertIn(self.number(old_cert), self.crl(issuers["old"], old_cert))
        self.assertNotIn(self.number(new_cert), self.crl(issuers["new"], new_cert))

        status = ca(s, "status").stdout
        self.assertRegex(status, rf"issuing  {both[0]}  active .*\n.*\n +1 live certificates")
        self.assertRegex(status, rf"issuing  {both[1]}  retired .*\n.*\n +1 live certificates")
        told = s.api("GET", "/api/v1/ca").json
        self.assertEqual(told["issuing"]["id"], both[0])
        self.assertEqual([c["id"] for c in told["issuing_cas"]], both)

    def test_standby(self):
        """One that stands by is served before anything is issued from it, then becomes active."""
        s = self.s
        active = ids(s)[0]
        said = ca(s, "rotate", "--standby").stdout
        reload(s)
        status = ca(s, "status").stdout
        new = re.search(r"^issuing  ([0-9a-f]{40})  standby .*\n.*\n +0 live certificates$", status,
                        re.M).group(1)
        self.assertIn(f"issuing-{new}.*", said)
        self.assertRegex(status, rf"issuing  {active}  active ")
        self.assertIn(f"waiting  /ca/{new}.crt must be there on every node", status)
        self.assertEqual(s.api("GET", "/api/v1/ca").json["issuing"]["id"], active)

        # certificate, chain, CRLs, OCSP
        crt = self.fetch(f"{s.status}/ca/{new}.crt", "standby")
        run("openssl", "verify", "-x509_strict", "-CAfile", s.root, crt)
        with open(crt, encoding="ascii") as f:
            self.assertIn(f.read().strip(), s.get(s.status, "/ca/chain.pem").body.decode())
        for name in ("0.crl", "all.crl"):
            der = write(os.path.join(s.dir, "standby.crl"),
                        s.get(s.status, f"/crl/{new}/{name}").body)
            self.assertIn("verify OK", run("openssl", "crl", "-inform", "DER", "-in", der, "-CAfile",
                                           crt, "-noout").stderr)
        asked = run("openssl", "ocsp", "-issuer", crt, "-serial", "0x1234", "-url",
                    s.status + "/ocsp", "-CAfile", s.root, "-no_nonce")
        self.assertIn("Response verify OK", asked.stderr)
        self.assertIn(": unknown", asked.stdout)

        def listed():
            with open(self.exported, encoding="ascii") as f:
                return f.read().count("BEGIN X509 CRL")

        known = len(ids(s)) + 1  # and the root's
        wait_for("the exported file has its CRL too", lambda: listed() == known)

        state = os.path.join(s.dir, "third")
        self.enrol("STANDBY0001", state)
        self.assertIn(active, self.aia(self.device_cert("STANDBY0001", state)))
        again = ca(s, "rotate", check=False)
        self.assertIn("stands by already", again.stderr)

        self.assertIn(new, ca(s, "activate", new).stdout)
        self.assertIn(new, ca(s, "activate", new).stdout)  # nothing to do
        reload(s)
        self.assertEqual(s.api("GET", "/api/v1/ca").json["issuing"]["id"], new)
        status = ca(s, "status").stdout
        self.assertRegex(status, rf"issuing  {new}  active ")
        self.assertRegex(status, rf"issuing  {active}  retired ")
        self.enrol("STANDBY0002", state)
        cert = self.device_cert("STANDBY0002", state)
        self.assertIn(new, self.aia(cert))
        self.assertEqual(self.ocsp(crt, cert), "good")
        self.assertIn("was active before", ca(s, "activate", active, check=False).stderr)
        self.assertIn("no issuing CA stands by", ca(s, "activate", check=False).stderr)

    def enrol(self, serial, state):
        s = self.s
        s.put_device(serial)
        listed = os.path.join(s.dir, "one.csv")
        write(listed, f"serial\n{serial}\n".encode())
        s.sim("fleet", *s.sim_args, "--inventory", listed, "--state", state, "--json")

    def device_cert(self, serial, state):
        with open(self.s.identity(serial, state), encoding="ascii") as f:
            text = f.read()
        pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.S)
        return write(os.path.join(self.s.dir, serial + ".crt"), (pem.group(0) + "\n").encode())


class Directory(unittest.TestCase):
    """CA directories alone, looked after by testudo-signer."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="testudo-ca-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def signer(self, word, folder, *args, check=True, **more):
        return run(program("testudo-signer"), word, "--dir", self.path(folder), *args, check=check,
                   **more)

    def refused(self, says, word, folder, *args):
        done = self.signer(word, folder, *args, check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertIn(says, done.stderr)

    def csr(self, folder, *args):
        out = self.signer("csr", folder, *args).stdout
        return write(self.path(folder + ".csr"), out.encode())

    def verify(self, folder):
        run("openssl", "verify", "-x509_strict", "-CAfile", self.path(folder, "root.crt"),
            self.path(folder, "issuing.crt"))

    def tls(self, folder, name, *args):
        """Something signed by the issuing key."""
        crt = self.path(name + ".crt")
        self.signer("tls", folder, "--name", "a.example", "--key-out", self.path(name + ".key"),
                    "--cert-out", crt, *args)
        run("openssl", "verify", "-x509_strict", "-CAfile", self.path(folder, "root.crt"),
            "-untrusted", crt, crt)

    def openssl_sign(self, csr, out, *args, folder="offline", days=1000):
        run("openssl", "x509", "-req", "-in", csr, "-CA", self.path(folder, "root.crt"), "-CAkey",
            self.path(folder, "root.key"), "-days", days, "-out", out, *args)
        return out

    def offline(self):
        """A root on its own machine, a CA below it on ours."""
        self.signer("init", "offline", "--root-only", "--org", "Example Org")
        self.assertFalse(os.path.exists(self.path("offline", "issuing.crt")))
        done = self.signer("init", "online", "--org", "Example Org", "--root",
                           self.path("offline", "root.crt"), check=False)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("waits", done.stdout)

    def test_offline_root(self):
        self.offline()
        self.refused("waits", "tls", "online", "--name", "a.example", "--key-out",
                     self.path("x"), "--cert-out", self.path("y"))
        self.refused("the root's key is not here", "rotate", "online")
        csr = self.csr("online")
        with open(csr, encoding="ascii") as f:
            first = f.read()
        run("openssl", "req", "-in", csr, "-noout", "-verify")
        self.signer("sign-issuing", "offline", "--in", csr, "--out", self.path("new.crt"))
        self.signer("import", "online", "--in", self.path("new.crt"))
        self.verify("online")
        self.tls("online", "one")
        self.signer("import", "online", "--in", self.path("new.crt"))  # again: nothing to do
        self.assertFalse(os.path.exists(self.path("online", "root.key")))
        # the next one, for another key; the old one stays beside it
        with open(self.csr("online"), encoding="ascii") as f:
            self.assertNotEqual(f.read(), first)
        self.signer("sign-issuing", "offline", "--in", self.path("online.csr"), "--out",
                    self.path("next.crt"))
        self.signer("import", "online", "--in", self.path("next.crt"))
        self.refused("was active before", "import", "online", "--in", self.path("new.crt"))
        status = self.signer("status", "online").stdout
        self.assertEqual(status.count("issuing id="), 2)
        self.tls("online", "two")
        audit = self.signer("audit", "online").stdout
        self.assertIn("chain holds", audit)

    def test_request_is_the_same_until_it_is_answered(self):
        self.offline()
        spki = []
        for _ in range(2):
            csr = self.csr("online")
            spki.append(run("openssl", "req", "-in", csr, "-noout", "-pubkey").stdout)
        self.assertEqual(spki[0], spki[1])

    def test_plain_openssl_signs_the_request(self):
        self.offline()
        self.openssl_sign(self.csr("online"), self.path("a.crt"), "-copy_extensions", "copyall")
        self.signer("import", "online", "--in", self.path("a.crt"))
        self.verify("online")
        self.tls("online", "one")
        # openssl ca, with extensions of its own
        os.mkdir(self.path("db"))
        write(self.path("db", "index.txt"), b"")
        conf = write(self.path("ca.cnf"), f"""
[ca]
default_ca = it
[it]
database = {self.path("db", "index.txt")}
new_certs_dir = {self.path("db")}
rand_serial = yes
default_md = sha256
default_days = 2000
policy = any
x509_extensions = issuing
[any]
organizationName = supplied
commonName = supplied
[issuing]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
""".encode())
        run("openssl", "ca", "-batch", "-config", conf, "-cert", self.path("offline", "root.crt"),
            "-keyfile", self.path("offline", "root.key"), "-in", self.csr("online"), "-out",
            self.path("b.crt"), "-notext", "-preserveDN")
        self.signer("import", "online", "--in", self.path("b.crt"))
        self.verify("online")
        self.tls("online", "two")

    def test_what_is_not_imported(self):
        self.offline()
        csr = self.csr("online")
        self.signer("init", "foreign", "--root-only", "--org", "Other Org")
        ext = self.path("ext")

        def signed(name, text, folder="offline", days=1000):
            write(ext, text.encode())
            return self.openssl_sign(csr, self.path(name), "-extfile", ext, folder=folder,
                                     days=days)

        good = ("basicConstraints=critical,CA:TRUE,pathlen:0\n"
                "keyUsage=critical,keyCertSign,cRLSign\n"
                "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        cases = {
            "not a CA": (signed("1", good.replace("CA:TRUE,pathlen:0", "CA:FALSE")), ),
            "pathlen:0": (signed("2", good.replace(",pathlen:0", "")), ),
            "keyUsage": (signed("3", good.replace(",cRLSign", "")), ),
            "keyUsage lacks": (signed("4", good.replace("keyCertSign,", "")), ),
            "subjectKeyIdentifier": (signed("5", good.replace("KeyIdentifier=hash",
                                                              "KeyIdentifier=0102")), ),
            "not issued by root.crt": (signed("6", good, folder="foreign"), ),
            "outlives": (signed("7", good, days=9000), ),
        }
        for says, (path,) in cases.items():
            with self.subTest(says):
                self.refused(says, "import", "online", "--in", path)
        self.refused("CA", "import", "online", "--in", self.path("offline", "root.crt"))
        self.refused("", "import", "online", "--in", csr)
        self.refused("", "import", "online", "--in", write(self.path("empty"), b""))
        self.refused("", "import", "online", "--in", self.path("nowhere"))
        # for another key than the one that waits
        self.signer("init", "twin", "--root", self.path("offline", "root.crt"), check=False)
        self.signer("sign-issuing", "offline", "--in", self.csr("twin"), "--out",
                    self.path("twin.crt"))
        self.refused("no key here fits", "import", "online", "--in", self.path("twin.crt"))
        # nothing of all that left a trace
        self.assertFalse(os.path.exists(self.path("online", "issuing.crt")))
        good_path = signed("8", good)
        self.signer("import", "online", "--in", good_path)
        self.verify("online")

    def test_near_its_end(self):
        """An issuing CA that ends before the longest certificate would: nothing is issued, and the
        signer says so when it starts."""
        self.offline()
        self.openssl_sign(self.csr("online"), self.path("a.crt"), "-copy_extensions", "copyall",
                          days=100)
        self.signer("import", "online", "--in", self.path("a.crt"))
        self.refused("outlive the issuing CA", "tls", "online", "--name", "a.example", "--key-out",
                     self.path("k"), "--cert-out", self.path("c"))
        s = Server(directory=self.path("server"))
        os.mkdir(s.dir)
        s.init(attestation=False)
        done = run(program("testudo"), "ca", "status", f"--config={s.ini}",
                   f"--ca-dir={self.path('online')}")
        self.assertIn("do now   testudo ca rotate", done.stdout)
        s.own = False
        s.settings["ca-dir"] = self.path("online")
        with open(s.ini, encoding="utf-8") as f:
            text = f.read()
        write(s.ini, re.sub(r"(?m)^dir = .*ca$", f"dir = {self.path('online')}",
                            text).encode())
        s.start()
        self.assertIn("signer.issuer_ends", s.tail(1000))
        s.stop()

    def test_requests_that_the_root_does_not_sign(self):
        self.signer("init", "offline", "--root-only")
        for name, data in (("empty", b""), ("text", b"hello"), (
                "half", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA")):
            self.refused("", "sign-issuing", "offline", "--in", write(self.path(name), data),
                         "--out", self.path("out"))
        self.signer("init", "other", check=False)
        csr = self.csr("other")
        with open(csr, "rb") as f:
            text = f.read()
        bent = text.replace(b"\nMII", b"\nMIJ", 1)
        self.refused("", "sign-issuing", "offline", "--in", write(self.path("bent"), bent),
                     "--out", self.path("out"))
        self.assertFalse(os.path.exists(self.path("out")))

    def test_rotation_survives_a_crash_at_each_step(self):
        """The files as they are between two steps of a rotation: loadable, and finished by the same
        word run again."""
        self.signer("init", "ca")
        shutil.copytree(self.path("ca"), self.path("before"))
        self.signer("rotate", "ca")
        after = self.signer("status", "ca").stdout
        new, old = re.findall(r"issuing id=(\w+)", after)
        files = {  # in the order in which they are written
            f"issuing-{old}.crt": None, f"issuing-{old}.key": None, f"issuing-{new}.key": None,
            "issuing.crt": None}
        for i in range(len(files) + 1):
            folder = f"crash{i}"
            shutil.copytree(self.path("before"), self.path(folder))
            shutil.copy(self.path("ca", f"issuing-{new}.key"), self.path(folder, "pending.key"))
            for name in list(files)[:i]:
                shutil.copy(self.path("ca", name), self.path(folder, name))
            active = re.findall(r"issuing id=(\w+) state=active",
                                self.signer("status", folder).stdout)
            self.assertEqual(active, [new if i == len(files) else old])
            self.tls(folder, folder)
            self.signer("import", folder, "--in", self.path("ca", "issuing.crt"))
            self.assertIn(f"id={new} state=active", self.signer("status", folder).stdout)
            self.tls(folder, folder + "again")

    def standby(self, folder):
        self.signer("rotate", folder, "--standby")
        return re.search(r"issuing id=(\w+) state=standby",
                         self.signer("status", folder).stdout).group(1)

    def test_standby_survives_a_crash_at_each_step(self):
        self.signer("init", "ca")
        old, = re.findall(r"issuing id=(\w+)", self.signer("status", "ca").stdout)
        shutil.copytree(self.path("ca"), self.path("before"))
        new = self.standby("ca")
        shutil.copytree(self.path("ca"), self.path("middle"))
        self.signer("activate", "ca")
        states = {old: "active"}
        for i in range(3):  # the key has its name, the certificate is there, pending.key is gone
            folder = f"by{i}"
            shutil.copytree(self.path("before"), self.path(folder))
            shutil.copy(self.path("ca", f"issuing-{new}.key"), self.path(folder))
            if i < 2:
                shutil.copy(self.path("ca", f"issuing-{new}.key"), self.path(folder, "pending.key"))
            if i > 0:
                shutil.copy(self.path("middle", f"issuing-{new}.standby"), self.path(folder))
                states[new] = "standby"
            found = dict(re.findall(r"issuing id=(\w+) state=(\w+)",
                                    self.signer("status", folder).stdout))
            self.assertEqual(found, states)
            self.tls(folder, folder)
            self.signer("import", folder, "--standby", "--in",
                        self.path("middle", f"issuing-{new}.standby"))
            self.signer("csr", folder)  # another request is out meanwhile, for another key
            self.signer("activate", folder)
            self.tls(folder, folder + "again")
            self.assertIn("pending key=plain", self.signer("status", folder).stdout)
            self.signer("rotate", folder)
            self.assertEqual(len(set(re.findall(r"issuing id=(\w+)",
                                                self.signer("status", folder).stdout))), 3)
        for i in range(4):  # of activation; at the end both names are there for a moment
            folder = f"activate{i}"
            shutil.copytree(self.path("middle"), self.path(folder))
            for name in (f"issuing-{old}.crt", f"issuing-{old}.key", "issuing.crt")[:i]:
                shutil.copy(self.path("ca", name), self.path(folder))
            found = dict(re.findall(r"issuing id=(\w+) state=(\w+)",
                                    self.signer("status", folder).stdout))
            self.assertEqual(found, {new: "active", old: "retired"} if i == 3 else
                             {new: "standby", old: "active"})
            self.tls(folder, folder)
            self.signer("activate", folder, "--id", new.upper())
            self.assertEqual(re.findall(r"issuing id=(\w+) state=(\w+)",
                                        self.signer("status", folder).stdout),
                             [(new, "active"), (old, "retired")])
            self.tls(folder, folder + "again")
        self.assertIn("chain holds", self.signer("audit", "ca").stdout)

    def test_what_is_not_activated(self):
        self.offline()
        self.openssl_sign(self.csr("online"), self.path("first.crt"), "-copy_extensions", "copyall")
        self.refused("the first one cannot stand by", "import", "online", "--standby", "--in",
                     self.path("first.crt"))
        self.signer("import", "online", "--in", self.path("first.crt"))
        self.refused("no issuing CA stands by: testudo ca rotate --standby", "activate", "online")
        csr = self.csr("online")
        self.signer("sign-issuing", "offline", "--in", csr, "--out", self.path("good.crt"))
        for _ in range(2):  # the second time nothing is to be done
            self.signer("import", "online", "--standby", "--in", self.path("good.crt"))
        status = self.signer("status", "online").stdout
        self.assertNotIn("pending", status)
        new = re.search(r"issuing id=(\w+) state=standby", status).group(1)
        self.refused("not an identifier", "activate", "online", "--id", "ab")
        self.refused(f"no issuing CA {'0' * 40} stands by", "activate", "online", "--id", "0" * 40)

        key, by = f"issuing-{new}.key", f"issuing-{new}.standby"
        conf = write(self.path("ext"), f"""
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = {new}
authorityKeyIdentifier = keyid
""".encode())
        self.signer("init", "foreign", "--root-only", "--org", "Example Org")
        os.mkdir(self.path("db"))

        def at(begin, end):
            """For another time than now."""
            write(self.path("db", "index.txt"), b"")
            ini = write(self.path("ca.cnf"), f"""
[ca]
default_ca = it
[it]
database = {self.path("db", "index.txt")}
new_certs_dir = {self.path("db")}
rand_serial = yes
default_md = sha256
policy = any
[any]
organizationName = supplied
commonName = supplied
""".encode())
            run("openssl", "ca", "-batch", "-config", ini, "-cert", self.path("offline", "root.crt"),
                "-keyfile", self.path("offline", "root.key"), "-in", csr, "-out",
                self.path("x", by), "-notext", "-preserveDN", "-extfile", conf, "-startdate", begin,
                "-enddate", end)

        cases = {
            f"the issuing CA {new} expired 2021-": lambda: at("200101000000Z", "210101000000Z"),
            f"the issuing CA {new} begins 2031-": lambda: at("310101000000Z", "320101000000Z"),
            f"the key of {new} is not here: {key}": lambda: os.unlink(self.path("x", key)),
            f"{key} is not the key of {new}": lambda: shutil.copy(
                self.path("offline", "root.key"), self.path("x", key)),
            "not issued by root.crt": lambda: self.openssl_sign(
                csr, self.path("x", by), "-extfile", conf, folder="foreign"),
            f"{by} is the certificate of another CA": lambda: shutil.copy(
                self.path("x", "issuing.crt"), self.path("x", by)),
            "2 issuing CAs stand by: name one": lambda: shutil.copy(
                self.path("x", by), self.path("x", f"issuing-{'1' * 40}.standby")),
        }
        for says, change in cases.items():
            with self.subTest(says):
                shutil.rmtree(self.path("x"), ignore_errors=True)
                shutil.copytree(self.path("online"), self.path("x"))
                change()
                self.refused(says, "activate", "x")
                self.assertNotIn(f"{new} state=active", self.signer("status", "online").stdout)
        self.signer("activate", "x", "--id", new)  # the last case: that one is named
        # an expired one and one that begins later do not stop the server
        for times in (("200101000000Z", "210101000000Z"), ("310101000000Z", "320101000000Z")):
            shutil.rmtree(self.path("x"), ignore_errors=True)
            shutil.copytree(self.path("online"), self.path("x"))
            at(*times)
            self.tls("x", "while" + times[0])
        self.signer("activate", "online")
        self.verify("online")
        self.tls("online", "new")

    def test_passphrase(self):
        one, two = write(self.path("one"), b"first one\n"), write(self.path("two"), b"second\n")
        self.signer("init", "ca")
        self.assertIn("key=plain", self.signer("status", "ca").stdout)
        self.signer("passphrase", "ca", "--new-pass-file", one)
        self.assertNotIn("key=plain", self.signer("status", "ca").stdout)
        for name in os.listdir(self.path("ca")):
            if name.endswith(".key"):
                with open(self.path("ca", name), encoding="ascii") as f:
                    self.assertIn("ENCRYPTED", f.read(), name)
        self.refused("is encrypted", "rotate", "ca")
        self.refused("wrong passphrase", "rotate", "ca", "--pass-file", two)
        self.refused("wrong passphrase", "passphrase", "ca", "--pass-file", two,
                     "--new-pass-file", two)
        self.refused("empty", "passphrase", "ca", "--pass-file", one, "--new-pass-file",
                     write(self.path("none"), b"\n"))
        # a change that a crash cut short: one key under the new one, the rest under the old
        shutil.copytree(self.path("ca"), self.path("half"))
        self.signer("passphrase", "ca", "--pass-file", one, "--new-pass-file", two)
        shutil.copy(self.path("ca", "root.key"), self.path("half", "root.key"))
        self.refused("wrong passphrase", "rotate", "half", "--pass-file", one)
        self.signer("passphrase", "half", "--pass-file", one, "--new-pass-file", two)
        self.tls("half", "half", "--pass-file", two)

    def test_wrong_directories(self):
        self.signer("init", "ca")
        self.signer("rotate", "ca")
        new, old = re.findall(r"issuing id=(\w+)", self.signer("status", "ca").stdout)
        tls = ("--name", "a.example", "--key-out", self.path("k"), "--cert-out", self.path("c"))

        def broken(change):
            shutil.rmtree(self.path("x"), ignore_errors=True)
            shutil.copytree(self.path("ca"), self.path("x"))
            change()

        broken(lambda: os.unlink(self.path("x", f"issuing-{new}.key")))
        self.refused("issuing.key", "tls", "x", *tls)  # where the key would be
        broken(lambda: os.unlink(self.path("x", f"issuing-{old}.key")))
        self.refused("issuing.key", "tls", "x", *tls)  # an older one's is as needed
        broken(lambda: shutil.copy(self.path("x", f"issuing-{old}.key"),
                                   self.path("x", f"issuing-{new}.key")))
        self.refused("is not the key of", "tls", "x", *tls)
        broken(lambda: os.chmod(self.path("x", f"issuing-{new}.key"), 0o644))
        self.refused("chmod 600", "tls", "x", *tls)
        broken(lambda: shutil.copy(self.path("x", "issuing.crt"), self.path("x", "root.crt")))
        self.refused("", "tls", "x", *tls)
        broken(lambda: write(self.path("x", f"issuing-{new}.key"), b"nonsense"))
        self.refused("", "tls", "x", *tls)
        broken(lambda: write(self.path("x", "root.key"), b""))
        self.refused("", "rotate", "x")
        broken(lambda: shutil.copy(self.path("x", f"issuing-{new}.key"),
                                   self.path("x", "root.key")))
        self.refused("is not the key of root.crt", "rotate", "x")

    def test_two_signers(self):
        """A second server on the same directory does not start; the first goes on."""
        with Server() as s:
            other = Server(directory=self.dir)
            other.init(attestation=False)
            done = run(program("testudo"), "serve", f"--config={other.ini}",
                       f"--ca-dir={os.path.join(s.dir, 'ca')}", check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("another testudo-signer", done.stderr + done.stdout)
            self.assertEqual(s.get(s.status, "/readyz").status, 200)

    def test_too_many(self):
        self.signer("init", "ca")
        for _ in range(7):
            self.signer("rotate", "ca")
        self.refused("8 issuing CAs are here", "rotate", "ca")
        self.tls("ca", "one")


SOFTHSM = next((p for p in ("/usr/lib/softhsm/libsofthsm2.so",
                            "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
                if os.path.exists(p)), None)


def module_processes(directory):
    """Processes that hold the module for a CA in this directory."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read().split(b"\0")
        except OSError:
            continue
        if line[1:2] == [b"module"] and any(directory.encode() in word for word in line):
            found.append(int(pid))
    assert found, "no process holds the module"
    return found


@unittest.skipUnless(SOFTHSM and shutil.which("softhsm2-util") and shutil.which("pkcs11-tool"),
                     "no SoftHSM: the packages softhsm2 and opensc")
class Module(unittest.TestCase):
    """The issuing key in a PKCS#11 token; the root is offline."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="testudo-hsm-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        os.mkdir(self.path("tokens"))
        conf = write(self.path("softhsm2.conf"),
                     f"directories.tokendir = {self.path('tokens')}\n".encode())
        os.environ["SOFTHSM2_CONF"] = conf
        self.addCleanup(os.environ.pop, "SOFTHSM2_CONF")
        run("softhsm2-util", "--init-token", "--free", "--label", "testudo", "--so-pin", "5678",
            "--pin", "1234")
        self.pin = write(self.path("pin"), b"1234\n")
        self.signer("init", "offline", "--root-only")
        self.module_args = ("--root", self.path("offline", "root.crt"), "--module", SOFTHSM,
                            "--pin-file", self.pin, "--issuing-key",
                            "pkcs11:token=testudo;object=issuing")

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def signer(self, word, folder, *args, check=True):
        return run(program("testudo-signer"), word, "--dir", self.path(folder), *args, check=check)

    def sign(self, folder, *csr_args, how=()):
        csr = write(self.path("csr"), self.signer("csr", folder, *csr_args).stdout.encode())
        crt = self.path("issuing.crt")
        if os.path.exists(crt):
            os.unlink(crt)
        self.signer("sign-issuing", "offline", "--in", csr, "--out", crt)
        self.signer("import", folder, "--in", crt, *how)

    def tool(self, *args):
        return run("pkcs11-tool", "--module", SOFTHSM, "--token-label", "testudo", "--login",
                   "--pin", "1234", *args)

    def ini(self, folder, old, new):
        path = self.path(folder, "ca.ini")
        with open(path, encoding="ascii") as f:
            text = f.read()
        self.assertIn(old, text)
        write(path, text.replace(old, new).encode())

    def test_enrolment_and_rotation(self):
        s = Server(directory=self.path("server"))
        os.mkdir(s.dir)
        done = self.signer("init", "server/ca", "--org", "Example Org", *self.module_args,
                           "--ocsp-url", s.status + "/ocsp", "--aia-url",
                           s.status + "/ca/{issuer}.crt", check=False)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.sign("server/ca")
        keys = [n for n in os.listdir(self.path("server/ca")) if n.startswith("issuing-")]
        with open(self.path("server/ca", keys[0]), encoding="ascii") as f:
            self.assertTrue(f.read().startswith("pkcs11:token=testudo;object=issuing;id=%"))
        self.assertIn("key=pkcs11", self.signer("status", "server/ca").stdout)
        s.own = False
        with s:
            s.fleet(2)
            first = ids(s)
            # a key that the administrator made, then rotation to it
            self.tool("--keypairgen", "--key-type", "EC:secp384r1", "--label", "by-hand", "--id",
                      "0a0b")
            self.sign("server/ca", "--key", "pkcs11:token=testudo;object=by-hand;id=%0a%0b")
            reload(s)
            self.assertEqual(ids(s)[1:], first)
            s.fleet(1, None, "--prefix", "HSM2")
            s.connect()
            der = s.get(s.status, "/ca/issuing.crt").body
            text = run("openssl", "x509", "-inform", "DER", "-noout", "-text", "-in",
                       write(self.path("i.der"), der)).stdout
            self.assertIn("P-384", text)
            # a further one stands by, then is active
            before = ids(s)
            self.sign("server/ca", how=("--standby", ))
            new = re.search(r"^issuing  (\w+)  standby .* key pkcs11$", ca(s, "status").stdout,
                            re.M).group(1)
            reload(s)
            self.assertEqual(s.get(s.status, f"/crl/{new}/all.crl").status, 200)
            s.fleet(1, None, "--prefix", "HSM3")
            ca(s, "activate", new)
            reload(s)
            self.assertEqual((ids(s)[0], set(ids(s)[1:])), (new, set(before)))
            s.fleet(1, None, "--prefix", "HSM4")
            # the token is lost in the middle: what needs it fails, then it is found again
            for pid in module_processes(self.dir):
                os.kill(pid, signal.SIGKILL)
            names = iter(range(100))
            wait_for("enrolment again", lambda: s.sim(
                "fleet", *s.sim_args, "--count", 1, "--prefix", f"AGAIN{next(names)}",
                "--put-inventory", "--state", s.fleet_dir, "--json", check=False).returncode == 0)

    def test_refusals(self):
        tls = ("--name", "a.example", "--key-out", self.path("k"), "--cert-out", self.path("c"))
        self.signer("init", "ca", *self.module_args, check=False)
        self.sign("ca")
        self.signer("tls", "ca", *tls)
        run("openssl", "verify", "-x509_strict", "-CAfile", self.path("ca", "root.crt"),
            "-untrusted", self.path("c"), self.path("c"))

        def refused(says):
            done = self.signer("tls", "ca", *tls, "--replace", check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(says, done.stderr)

        write(self.pin, b"9999\n")
        refused("wrong PIN")
        write(self.pin, b"1234\n")
        self.ini("ca", SOFTHSM, "/nonexistent.so")
        refused("no module that can be loaded")
        self.ini("ca", "/nonexistent.so", SOFTHSM)
        self.ini("ca", f"module = {SOFTHSM}", "module =")
        self.ini("ca", "issuing_key = pkcs11:token=testudo;object=issuing", "issuing_key =")
        refused("ca.ini names none")
        self.ini("ca", "module =", f"module = {SOFTHSM}")
        key = next(n for n in os.listdir(self.path("ca")) if re.match(r"issuing-.*\.key", n))

        def uri(text, says):
            write(self.path("ca", key), text.encode())
            refused(says)

        uri("pkcs11:token=other;object=issuing\n", "no token")
        uri("pkcs11:token=testudo;object=nothing\n", "no private key")
        uri("pkcs11:token=testudo\n", "neither object nor id")
        uri("pkcs11:token=testudo;object=issuing?pin-value=1234\n", "ca.ini")
        uri("pkcs11:token=testudo;colour=red\n", "colour")
        uri("pkcs11:token=testudo;object=%zz\n", "escape")
        uri("pkcs11:token=testudo;object=issuing\nmore\n", "not one PKCS#11 URI")
        self.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "issuing", "--id", "77")
        uri("pkcs11:token=testudo;object=issuing\n", "several")
        uri("pkcs11:token=testudo;object=issuing;id=%77\n", "is not the key of")
        os.unlink(self.pin)
        refused("pin")


if __name__ == "__main__":
    unittest.main()
