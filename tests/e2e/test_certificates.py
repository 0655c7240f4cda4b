"""Certificates and their status: revocation, hold and release by API and command line, CRLs over HTTP
and as a file with its hook."""
import base64
import json
import os
import re
import unittest

import test_profiles
from testudo import Server, program, run, wait_for

REASONS = {"unspecified": True, "keyCompromise": True, "affiliationChanged": True, "superseded": True,
           "cessationOfOperation": True, "privilegeWithdrawn": True, "cACompromise": False,
           "certificateHold": False, "removeFromCRL": False, "aACompromise": False, "": False,
           "keycompromise": False}


class Certificates(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = s = Server()
        cls.crl_file = os.path.join(s.dir, "out.pem")
        cls.calls = os.path.join(s.dir, "calls")
        hook = os.path.join(s.dir, "hook.sh")
        with open(hook, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\necho \"$1 $TESTUDO_CRL ${HOME:-none}\" >>\"$2\"\n")
        os.chmod(hook, 0o755)
        s.settings["ca-crl_export"] = cls.crl_file
        s.settings["ca-crl_hook"] = f"{hook} word {cls.calls}"
        s.init()
        s.start()
        summary = s.fleet(8, None, "--prefix", "CRT")
        assert summary["enrolled"] == 8, summary
        cls.issuing = os.path.join(s.dir, "ca/issuing.crt")

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def cert(self, n):
        return self.server.certificates(f"CRT000000{n}")[0]

    def act(self, serial, verb, body=None, **more):
        return self.server.api("POST", f"/api/v1/certificates/{serial}/{verb}", body, **more)

    def ocsp(self, cert):
        path = os.path.join(self.server.dir, cert["serial"] + ".crt")
        with open(path, "w", encoding="ascii") as f:
            f.write(cert["pem"])
        done = run("openssl", "ocsp", "-issuer", self.issuing, "-no_nonce", "-cert", path, "-url",
                   f"{self.server.status}/ocsp", "-CAfile", self.server.root)
        text = done.stdout
        status = re.search(r": (good|revoked|unknown)", text).group(1)
        reason = re.search(r"Reason: (\S+)", text)
        return status, reason.group(1) if reason else None

    def audit(self):
        answer = self.server.api("GET", "/api/v1/audit?limit=50")
        return [(a["action"], a["subject"], a["actor"], a["detail"], a["txn"])
                for a in answer.json["audit"]]

    # --- API ---

    def test_revoke(self):
        cert = self.cert(1)
        serial = cert["serial"]
        self.assertEqual((cert["status"], cert["reason"], cert["rev"]), ("good", None, 0))
        self.assertEqual(self.ocsp(cert), ("good", None))
        answer = self.act(serial, "revoke", {"reason": "keyCompromise"})
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual((answer.json["status"], answer.json["reason"]), ("revoked", "keyCompromise"))
        self.assertEqual(answer.headers["ETag"], '"1"')
        self.assertEqual(self.ocsp(cert), ("revoked", "keyCompromise"))
        again = self.act(serial, "revoke", {"reason": "keyCompromise"})
        self.assertEqual((again.status, again.json["rev"]), (200, 1))
        self.assertEqual(again.json["revoked_at"], answer.json["revoked_at"])
        for verb, body in (("revoke", {"reason": "superseded"}), ("hold", None), ("release", None)):
            other = self.act(serial, verb, body)
            self.assertEqual((other.status, other.json["reason"]), (409, "already-revoked"))
        rows = [a for a in self.audit() if a[1] == serial]
        self.assertEqual(len(rows), 1)
        self.assertEqual(rows[0][0], "certificate.revoke")
        self.assertTrue(rows[0][2].startswith("token:"))
        self.assertIn("reason=keyCompromise", rows[0][3])

    def test_hold_and_release(self):
        cert = self.cert(2)
        serial = cert["serial"]
        for round_ in range(2):
            held = self.act(serial.upper(), "hold", {})
            self.assertEqual((held.status, held.json["status"]), (200, "held"))
            self.assertEqual(self.ocsp(cert), ("revoked", "certificateHold"))
            free = self.act(serial, "release", headers={"If-Match": held.headers["ETag"]})
            self.assertEqual((free.status, free.json["status"]), (200, "good"))
            self.assertEqual(self.ocsp(cert), ("good", None))
            late = self.act(serial, "hold", headers={"If-Match": held.headers["ETag"]})
            self.assertEqual((late.status, late.json["reason"]), (412, "rev-mismatch"))
        self.assertEqual(self.act(serial, "hold", headers={"If-Match": "*"}).status, 200)
        self.assertEqual(self.act(serial, "revoke", {}).json["reason"], "unspecified")

    def test_reasons(self):
        good = self.cert(3)["serial"]
        for name, allowed in REASONS.items():
            if not allowed:
                answer = self.act(good, "revoke", {"reason": name})
                self.assertEqual((answer.status, answer.json["reason"]), (400, "revocation-reason"))
        self.assertEqual(self.cert(3)["status"], "good")

    def test_wrong_requests(self):
        good = self.cert(3)["serial"]
        wrong = [(good + "00", "revoke", {}, 404), ("zz", "revoke", {}, 400), (good[:-1], "hold", None, 400),
                 ("40" * 21, "hold", None, 400), ("40" * 20, "hold", None, 404),
                 (good, "revoke", {"reason": 1}, 400), (good, "revoke", {"why": "x"}, 400),
                 (good, "hold", {"reason": "x"}, 400), (good, "burn", None, 404)]
        for serial, verb, body, status in wrong:
            with self.subTest((serial, verb, body)):
                self.assertEqual(self.act(serial, verb, body).status, status)
        for body in (b"", b"{", b"[]", b"x" * (1 << 20), b"x" * ((1 << 20) + 1)):
            answer = self.act(good, "revoke", body, content_type="application/json")
            self.assertIn(answer.status, (400, 413), answer)
        self.assertEqual(self.act(good, "revoke", b"{}", content_type="text/plain").status, 415)
        self.assertEqual(self.act(good, "hold", headers={"If-Match": "1"}).status, 400)
        self.assertEqual(self.act(good, "hold", token="").status, 401)
        self.assertEqual(self.server.api("GET", f"/api/v1/certificates/{good}").json["status"], "good")

    def test_scopes(self):
        made = self.server.api("POST", "/api/v1/tokens",
                               {"name": "reader", "scopes": "certificates:read"}).json["token"]
        good = self.cert(3)["serial"]
        self.assertEqual(self.server.api("GET", "/api/v1/certificates", token=made).status, 200)
        for path in (f"/api/v1/certificates/{good}/hold", "/api/v1/devices/CRT0000003/hold"):
            answer = self.server.api("POST", path, token=made)
            self.assertEqual((answer.status, answer.json["reason"]), (403, "scope-missing"))

    def test_list(self):
        def listed(query=""):
            answer = self.server.api("GET", "/api/v1/certificates" + query)
            self.assertEqual(answer.status, 200, answer)
            return answer.json
        everything = listed("?limit=1000")["certificates"]
        self.assertEqual(len(everything), 8)
        self.assertNotIn("pem", everything[0])
        serials, cursor = [], ""
        while cursor is not None:
            page = listed("?limit=3" + (f"&cursor={cursor}" if cursor else ""))
            serials += [c["serial"] for c in page["certificates"]]
            cursor = page["next_cursor"]
        self.assertEqual(serials, [c["serial"] for c in everything])
        one = listed("?device=CRT0000004")["certificates"]
        self.assertEqual([c["device"] for c in one], ["CRT0000004"])
        states = {c["serial"]: c["status"] for c in everything}
        for state in ("good", "revoked", "held"):
            self.assertEqual({c["serial"] for c in listed(f"?status={state}")["certificates"]},
                             {s for s, v in states.items() if v == state})
        for query in ("?status=bad", "?device=..%2f", "?cursor=eHg", "?limit=0"):
            self.assertEqual(self.server.api("GET", "/api/v1/certificates" + query).status, 400)

    def test_device(self):
        """Quarantine is of access certificates: a management identity goes on."""
        answer = self.server.api("POST", "/api/v1/devices/CRT0000005/hold")
        self.assertEqual((answer.status, answer.json["on_hold"]), (200, True))
        self.assertTrue(self.server.api("GET", "/api/v1/devices/CRT0000005").json["on_hold"])
        self.assertEqual(self.cert(5)["status"], "good")
        txns = {a[4] for a in self.audit() if a[1] == "CRT0000005" and a[0] == "device.hold"}
        self.assertEqual(len(txns), 1)
        answer = self.server.api("POST", "/api/v1/devices/CRT0000005/release", {})
        self.assertEqual((answer.status, answer.json["on_hold"]), (200, False))
        self.assertFalse(self.server.api("GET", "/api/v1/devices/CRT0000005").json["on_hold"])
        self.assertEqual(self.server.api("POST", "/api/v1/devices/NEVER1/hold").status, 404)

    # --- command line ---

    def words(self, *args, status=0):
        done = run(program("testudo"), "cert", *args, f"--config={self.server.ini}", check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout

    def test_words(self):
        cert = self.cert(6)
        serial = cert["serial"]
        self.assertIn(serial, self.words("list"))
        rows = json.loads(self.words("list", "--json", "--device=CRT0000006"))["certificates"]
        self.assertEqual([(r["serial"], r["status"]) for r in rows], [(serial, "good")])
        self.assertEqual(json.loads(self.words("list", "--json", "--device=NOBODY")), {"certificates": []})
        self.assertIn("BEGIN CERTIFICATE", self.words("show", serial))
        self.assertEqual(json.loads(self.words("show", serial, "--json"))["pem"], cert["pem"])
        self.assertIn("held", self.words("hold", serial))
        self.assertEqual(self.ocsp(cert), ("revoked", "certificateHold"))
        self.assertIn("good", self.words("--json", "release", serial))
        self.assertEqual(self.ocsp(cert), ("good", None))
        made = json.loads(self.words("revoke", serial, "--reason=affiliationChanged", "--json"))
        self.assertEqual((made["status"], made["reason"]), ("revoked", "affiliationChanged"))
        self.assertEqual(self.ocsp(cert), ("revoked", "affiliationChanged"))
        self.assertIn(("certificate.revoke", "testudo cert revoke"),
                      {(a[0], a[2]) for a in self.audit() if a[1] == serial})
        self.words("hold", serial, status=1)
        self.words("revoke", serial, "--reason=cACompromise", status=1)
        self.words("show", "40" * 20, status=1)
        self.words("show", "4", status=1)
        self.words("list", "--status=bad", status=1)
        for args in ((), ("burn", serial), ("show",), ("list", serial), ("hold",)):
            self.words(*args, status=2)
        self.words("show", serial, "more", status=1)

    # --- CRLs ---

    def crl(self, path, **more):
        return self.server.get(self.server.status, path, **more)

    def point_of(self, cert):
        path = os.path.join(self.server.dir, "dp.crt")
        with open(path, "w", encoding="ascii") as f:
            f.write(cert["pem"])
        text = run("openssl", "x509", "-in", path, "-noout", "-ext", "crlDistributionPoints").stdout
        return re.search(r"URI:(\S+)", text).group(1).removeprefix(self.server.status)

    def serials_of(self, der):
        path = os.path.join(self.server.dir, "x.crl")
        with open(path, "wb") as f:
            f.write(der)
        done = run("openssl", "crl", "-inform", "der", "-in", path, "-noout", "-text", "-CAfile",
                   self.issuing)
        self.assertIn("verify OK", done.stderr)
        return {s.lower() for s in re.findall(r"Serial Number: ([0-9A-F]+)", done.stdout)}

    def test_crl(self):
        cert = self.cert(7)
        path = self.point_of(cert)
        self.assertRegex(path, r"^/crl/[0-9a-f]{40}/\d+\.crl$")
        first = self.crl(path)
        self.assertEqual((first.status, first.headers["Content-Type"]), (200, "application/pkix-crl"))
        self.assertNotIn(cert["serial"], self.serials_of(first.body))
        tag = first.headers["ETag"]
        same = self.crl(path, headers={"If-None-Match": tag})
        self.assertEqual((same.status, same.body, same.headers["ETag"]), (304, b"", tag))
        self.assertEqual(self.act(cert["serial"], "hold").status, 200)
        new = self.crl(path, headers={"If-None-Match": tag})
        self.assertEqual(new.status, 200)
        self.assertIn(cert["serial"], self.serials_of(new.body))
        everything = self.crl(path.rsplit("/", 1)[0] + "/all.crl").body
        self.assertIn(cert["serial"], self.serials_of(everything))
        self.assertEqual(everything, self.crl("/crl/issuing.crl").body)
        pem = self.crl("/crl/issuing.pem").body.decode()
        self.assertEqual(base64.b64decode("".join(pem.split("\n")[1:-2])), everything)
        self.assertEqual(self.act(cert["serial"], "release").status, 200)
        self.assertNotIn(cert["serial"], self.serials_of(self.crl(path).body))
        head = self.server.request(self.server.status, "HEAD", path)
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(self.crl(path.replace(".crl", ".der")).status, 404)
        self.assertEqual(self.server.request(self.server.status, "POST", path, b"x").status, 405)

    def test_crl_survives_a_restart(self):
        path = self.point_of(self.cert(8))
        before = self.crl(path).body
        self.server.stop()
        self.server.start()
        self.assertEqual(self.crl(path).body, before)

    def exported(self):
        with open(self.crl_file, encoding="ascii") as f:
            return f.read()

    def test_export_and_hook(self):
        cert = self.cert(8)
        wait_for("the first export", lambda: os.path.exists(self.calls))
        self.assertEqual(self.exported().count("BEGIN X509 CRL"), 2)  # the issuing CA's, the root's
        der = os.path.join(self.server.dir, "y.crl")

        def lists():
            run("openssl", "crl", "-in", self.crl_file, "-outform", "der", "-out", der)
            with open(der, "rb") as f:
                return cert["serial"] in self.serials_of(f.read())
        self.assertFalse(lists())
        with open(self.calls, encoding="ascii") as f:
            calls = f.read().split("\n")
        self.assertEqual(calls[0], f"word {self.crl_file} none")
        self.assertEqual(self.act(cert["serial"], "hold").status, 200)
        wait_for("the certificate in the file", lists)
        wait_for("the hook again",
                 lambda: open(self.calls, encoding="ascii").read().count("\n") >= len(calls))
        self.assertEqual(self.act(cert["serial"], "release").status, 200)
        wait_for("the certificate out of the file", lambda: not lists())
        self.assertEqual([n for n in os.listdir(self.server.dir) if n.startswith("out.pem.")], [])


class Quarantine(test_profiles.Base):
    """A device on hold: what opens services does so no more, what it gets meanwhile neither; it goes on
    talking to MDM, or it could never report that it is well again."""

    files = {"vpn": "[profile]\nlifetime = 7d\n"}

    def statuses(self, serial):
        return {c["profile"]: (c["status"], c["reason"]) for c in self.server.certificates(serial)}

    def act(self, serial, verb):
        answer = self.server.api("POST", f"/api/v1/devices/{serial}/{verb}")
        self.assertEqual(answer.status, 200, answer)
        return answer.json["changed"]

    def test_quarantine(self):
        serial = "C02QUARANT1"
        self.enrol(serial, model="MacBook Pro")
        self.assign(serial, profile="access")
        self.connect(serial)
        path = self.certificate_file(self.identity(serial, "access"), "access")
        self.assertEqual(self.ocsp(path), "good")
        self.assertEqual(self.act(serial, "hold"), 1)
        self.assertEqual(self.ocsp(path), "revoked")
        self.assertEqual(self.statuses(serial), {"management": ("good", None),
                                                 "access": ("held", "certificateHold")})
        self.assign(serial, profile="vpn")
        self.connect(serial)  # management goes on
        late = self.certificate_file(self.identity(serial, "vpn"), "vpn")
        self.assertEqual(self.ocsp(late), "revoked")
        self.assertEqual(self.statuses(serial)["vpn"], ("held", "certificateHold"))
        self.assertEqual(self.act(serial, "hold"), 0)
        self.assertEqual(self.act(serial, "release"), 2)
        self.assertEqual((self.ocsp(path), self.ocsp(late)), ("good", "good"))
        self.assertEqual(self.act(serial, "hold"), 2)
        self.assertEqual(self.server.api("DELETE", f"/api/v1/inventory/devices/{serial}").status, 204)
        self.assertEqual(set(self.statuses(serial).values()), {("revoked", "cessationOfOperation")})


class Hooks(unittest.TestCase):
    def test_wrong_hooks_are_named(self):
        with Server() as s:
            for export, hook, word in (("", "/bin/true", "crl_export"), ("/x.pem", "true", "absolute")):
                done = run(program("testudo"), "config", "check", f"--config={s.ini}",
                           f"--ca-crl_export={export}", f"--ca-crl_hook={hook}", check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn(word, done.stderr)

    def test_a_hook_that_hangs_is_killed(self):
        """And nobody waits for it: the server serves meanwhile and stops in time."""
        s = Server()
        s.settings["ca-crl_export"] = os.path.join(s.dir, "x.crl")
        s.settings["ca-crl_hook"] = "/bin/sleep 600"
        s.settings["ca-crl_hook_timeout"] = "1s"
        with s:
            wait_for("the hook was killed", lambda: "took too long" in s.tail(200))
            with open(s.settings["ca-crl_export"], "rb") as f:
                self.assertEqual(f.read(1), b"\x30")
            self.assertEqual(s.get(s.status, "/crl/issuing.crl").status, 200)


if __name__ == "__main__":
    unittest.main()
