"""Certificate profiles and renewal: the real server, the real signer, simulated devices."""
import json
import os
import re
import signal
import time
import unittest

from testudo import Server, run, wait_for

FACTS_OID = "1.3.6.1.4.1.32473.7"

FILES = {
    "wifi": f"""[profile]
lifetime = 7d
[subject]
cn = {{name}}
ou = {{groups}}
[san]
dns = {{serial}}.devices.example.org
email = {{owner}}
uri = spiffe://devices.example.org/device/{{serial}}
[usage]
eku = clientAuth serverAuth
[facts]
oid = {FACTS_OID}
names = os_version sip secure_boot kexts udid
""",
    "private": """[profile]
serial = no
[san]
email = {owner}
""",
}


def write_profiles(server, files):
    folder = os.path.join(server.dir, "ca", "profiles")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(folder, name + ".ini"), "w", encoding="utf-8") as f:
            f.write(text)


class Base(unittest.TestCase):
    files, settings = {}, {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(**cls.settings)
        cls.server.init()
        write_profiles(cls.server, cls.files)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def enrol(self, serial, model="iPhone", **members):
        """Listed and enrolled."""
        members = {"name": serial, "model": model, **members}
        self.server.put_device(serial, **members)
        csv = os.path.join(self.server.dir, serial + ".csv")
        with open(csv, "w", encoding="utf-8") as f:
            f.write(f"serial,model\n{serial},{model}\n")
        done = self.server.sim("fleet", *self.server.sim_args, "--inventory", csv, "--state",
                               self.server.fleet_dir, "--json")
        self.assertEqual(json.loads(done.stdout)["enrolled"], 1, done.stdout)

    def connect(self, serial, *more, check=True):
        return self.server.sim("connect", "--state", self.server.fleet_dir, "--cacert",
                               self.server.root, "--pki", self.server.pki, "--serial", serial,
                               *more, check=check)

    def assign(self, serial, status=201, **body):
        got = self.server.api("POST", f"/api/v1/devices/{serial}/profiles", body)
        self.assertEqual(got.status, status, got)
        return got.json

    def policy(self, name, **body):
        got = self.server.api("PUT", f"/api/v1/profiles/{name}/policy", body)
        self.assertEqual(got.status, 200, got)
        return got.json["policy"]

    def identity(self, serial, profile):
        """The PEM of an access identity that the simulated device holds, or None."""
        path = os.path.join(self.server.fleet_dir, serial + ".device")
        with open(path, encoding="utf-8") as f:
            for x in json.load(f)["identities"]:
                if x["identifier"].endswith(".access." + profile):
                    return x["pem"]
        return None

    def certificate_file(self, pem, name):
        path = os.path.join(self.server.dir, name + ".crt")
        with open(path, "w", encoding="ascii") as f:
            f.write(re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", pem,
                              re.S).group(0))
        return path

    def command(self, serial, uuid):
        return self.server.api("GET", f"/api/v1/devices/{serial}/commands/{uuid}").json

    def reasons(self, serial):
        return [a["reason"] for a in self.server.attempts(serial)]

    def ocsp(self, path):
        done = run("openssl", "ocsp", "-issuer", os.path.join(self.server.dir, "ca", "issuing.crt"),
                   "-cert", path, "-url", self.server.status + "/ocsp", "-CAfile",
                   self.server.root, "-no_nonce")
        return re.search(r": (good|revoked|unknown)", done.stdout).group(1)


def der(data):
    """One DER value: tag, content, rest."""
    tag, n, at = data[0], data[1], 2
    if n & 0x80:
        k = n & 0x7f
        n, at = int.from_bytes(data[2:2 + k], "big"), 2 + k
    return tag, data[at:at + n], data[at + n:]


class Profiles(Base):
    files = FILES

    def test_list_and_directories(self):
        got = self.server.api("GET", "/api/v1/profiles")
        self.assertEqual(got.status, 200)
        by_name = {p["name"]: p for p in got.json["profiles"]}
        self.assertEqual(sorted(set(by_name) - {"late"}),
                         ["access", "management", "private", "wifi"])
        self.assertTrue(by_name["access"]["built_in"])
        self.assertEqual(by_name["wifi"]["templates"]["cn"], "{name}")
        self.assertEqual(by_name["wifi"]["facts"],
                         ["udid", "os_version", "sip", "secure_boot", "kexts"])
        self.assertFalse(by_name["private"]["serial_in_certificate"])
        for p in by_name.values():
            got = self.server.get(self.server.public, p["directory"][len(self.server.public):])
            self.assertEqual(got.status, 200, p["name"])
            self.assertTrue(got.json["newOrder"].endswith(f"/acme/{p['name']}/new-order"))
        got = self.server.get(self.server.public, "/acme/nothing/directory")
        self.assertEqual(got.status, 404)
        self.assertEqual(got.json["reason"], "profile-unknown")

    def test_policy(self):
        get = lambda: self.server.api("GET", "/api/v1/profiles/private")
        self.assertEqual(get().json["policy"]["rev"], 0)
        p = self.policy("private", enabled=False, groups=["b", "a"], platforms=["macos"],
                        min_os={"macos": "14.6"})
        self.assertEqual((p["enabled"], p["groups"], p["min_os"], p["rev"]),
                         (False, ["a", "b"], {"macos": "14.6"}, 1))
        self.assertEqual(get().headers["ETag"], '"1"')
        directory = "/acme/private/directory"
        self.assertEqual(self.server.get(self.server.public, directory).status, 404)
        for match, status in (('"0"', 412), ('"1"', 200), ('"1"', 412), ("x", 400)):
            got = self.server.api("PUT", "/api/v1/profiles/private/policy", {"enabled": True},
                                  headers={"If-Match": match})
            self.assertEqual(got.status, status, (match, got))
        self.assertEqual(self.server.get(self.server.public, directory).status, 200)
        for body in ({"platforms": ["windows"]}, {"min_os": {"ios": "x"}}, {"groups": "a"},
                     {"groups": ["a b"]}, {"enabled": 1}, {"unknown": 1},
                     {"min_os": {"ios": "17 macos=1"}}, {"groups": ["x" * 41]}):
            got = self.server.api("PUT", "/api/v1/profiles/private/policy", body)
            self.assertEqual(got.status, 400, (body, got))
        self.assertEqual(self.server.api("PUT", "/api/v1/profiles/nothing/policy", {}).status, 404)
        self.assertEqual(self.server.api("GET", "/api/v1/profiles/nothing").status, 404)
        self.assertEqual(self.server.api("GET", "/api/v1/profiles", token="").status, 401)
        audit = self.server.api("GET", "/api/v1/audit").json["audit"]
        self.assertIn("profile.policy", [a["action"] for a in audit])

    def test_groups_in_inventory(self):
        put = lambda **b: self.server.api("PUT", "/api/v1/inventory/devices/GRP1", b)
        self.assertEqual(put(name="x", groups=["lab", "eng", "lab"]).json["groups"], ["eng", "lab"])
        self.assertEqual(put(name="y").json["groups"], ["eng", "lab"])  # absent: kept
        self.assertEqual(put(name="y", groups=[]).json["groups"], [])
        self.assertEqual(put(name="y", groups=["a/b"]).status, 400)
        got = self.server.api("POST", "/api/v1/inventory/import",
                              "serial,groups\nGRP1,lab|eng\nGRP2,ops\n", content_type="text/csv")
        self.assertEqual(got.status, 200, got)
        get = lambda s: self.server.api("GET", f"/api/v1/inventory/devices/{s}").json["groups"]
        self.assertEqual((get("GRP1"), get("GRP2")), (["eng", "lab"], ["ops"]))

    def test_access_identity(self):
        """Assigned, pushed, attested, issued by its profile, checked from outside, taken back."""
        serial = "C02MACACC01"
        self.enrol(serial, model="MacBook Pro", owner="ann@example.org", groups=["eng"],
                   name="Ann's Mac")
        self.assign(serial, profile="wifi", wifi={"ssid": "Corp", "server_names": ["r.example"]})
        self.connect(serial)
        pem = self.identity(serial, "wifi")
        self.assertIsNotNone(pem)
        path = self.certificate_file(pem, "wifi")
        text = run("openssl", "x509", "-in", path, "-noout", "-text").stdout
        self.assertRegex(text, r"Subject: O = Example Org, OU = eng, CN = Ann's Mac")
        self.assertIn("DNS:c02macacc01.devices.example.org", text)
        self.assertIn("email:ann@example.org", text)
        self.assertIn(f"URI:spiffe://devices.example.org/device/{serial}", text)
        self.assertIn("TLS Web Client Authentication, TLS Web Server Authentication", text)
        run("openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile",
            self.server.root, "-untrusted", os.path.join(self.server.dir, "ca", "issuing.crt"),
            path)
        self.check_facts(path)
        self.assertEqual(self.ocsp(path), "good")
        mine = [c for c in self.server.certificates(serial) if c["profile"] == "wifi"]
        self.assertEqual([c["purpose"] for c in mine], ["access"])
        listed = self.server.api("GET", f"/api/v1/devices/{serial}/profiles").json["profiles"]
        self.assertEqual([(p["profile"], p["wifi_ssid"]) for p in listed], [("wifi", "Corp")])
        # the access identity opens no management
        got = self.server.request(
            self.server.device, "PUT", "/mdm/connect", "", {},
            self.server.tls(self.pair(pem)))
        self.assertNotIn(got.status, (200, 401))
        # and back
        path_of = f"/api/v1/devices/{serial}/profiles/wifi"
        self.assertEqual(self.server.api("DELETE", path_of).status, 204)
        self.assertEqual(self.ocsp(path), "revoked")
        self.assertEqual(self.server.api("DELETE", path_of).status, 404)
        self.connect(serial)
        self.assertIsNone(self.identity(serial, "wifi"))

    def pair(self, pem):
        path = os.path.join(self.server.dir, "pair.pem")
        with open(path, "w", encoding="ascii") as f:
            f.write(pem)
        return path

    def check_facts(self, path):
        """The extension of attested facts, by OpenSSL and by hand."""
        listing = run("openssl", "asn1parse", "-in", path).stdout.splitlines()
        at = next(i for i, line in enumerate(listing) if FACTS_OID in line)
        offset, head = re.match(r"\s*(\d+):d=\d+\s+hl=(\d+)", listing[at + 1]).groups()
        inner = run("openssl", "asn1parse", "-in", path, "-strparse", offset).stdout
        self.assertEqual(len(re.findall(r"cont \[ \d+ \]", inner)), 5, inner)
        raw = run("openssl", "asn1parse", "-in", path, "-strparse", offset, "-out",
                  path + ".facts", "-noout")
        self.assertEqual(raw.returncode, 0)
        with open(path + ".facts", "rb") as f:
            tag, content, rest = der(f.read())
        self.assertEqual((tag, rest), (0x30, b""))
        facts = {}
        while content:
            tag, value, content = der(content)
            facts[tag & 0x1f] = value.decode()
        self.assertEqual(facts[3], "15.1")  # os_version
        self.assertEqual((facts[6], facts[7], facts[8]),
                         ("enabled", "Full Security", "not-allowed"))
        self.assertTrue(facts[1].startswith("00006030-"))  # udid

    def test_files_at_reload(self):
        """SIGHUP: the signer and the server take the files anew; a wrong one changes nothing."""
        directory = "/acme/late/directory"
        status = lambda: self.server.get(self.server.public, directory).status
        self.assertEqual(status(), 404)
        write_profiles(self.server, {"late": "[subject]\ncn = Late {serial}\n"})
        self.server.process.send_signal(signal.SIGHUP)
        wait_for("the new profile", lambda: status() == 200)
        serial = "PHONELATE1"
        self.enrol(serial)
        self.assign(serial, profile="late")
        self.connect(serial)
        path = self.certificate_file(self.identity(serial, "late"), "late")
        text = run("openssl", "x509", "-in", path, "-noout", "-subject").stdout
        self.assertIn("CN = Late " + serial, text)
        write_profiles(self.server, {"late": "[subject]\ncn = {nothing}\n"})
        before = self.server.tail(100000).count("reload_failed")
        self.server.process.send_signal(signal.SIGHUP)
        wait_for("the refused reload",
                 lambda: self.server.tail(100000).count("reload_failed") > before)
        self.assertEqual(status(), 200)
        self.assign(serial, profile="late")
        self.connect(serial)
        self.assertNotEqual(self.certificate_file(self.identity(serial, "late"), "late2"), "")
        write_profiles(self.server, {"late": "[subject]\ncn = Late {serial}\n"})

    def test_refusals(self):
        """Who may not have it hears why, where the administrator looks."""
        serial = "PHONEREF01"
        self.enrol(serial, owner="bob@example.org")
        self.assertEqual(self.assign(serial, 404, profile="nothing")["reason"], "profile-unknown")
        self.assertEqual(self.assign(serial, 404, profile="management")["reason"],
                         "profile-unknown")
        self.assertEqual(self.assign("NOBODY1", 404, profile="access")["reason"],
                         "device-not-listed")
        self.policy("access", groups=["vip"])
        self.assertEqual(self.assign(serial, 403, profile="access")["reason"],
                         "profile-not-allowed")
        self.policy("access")
        # allowed when it was pushed, not any more when the device orders
        uuid = self.assign(serial, profile="access")["command"]
        self.policy("access", platforms=["macos"])
        self.connect(serial)
        self.assertEqual(self.command(serial, uuid)["state"], "error")
        self.assertIn("profile-not-allowed", self.reasons(serial))
        # the version that counts is the attested one: known at the challenge
        self.policy("access", min_os={"ios": "99.0"})
        uuid = self.assign(serial, profile="access")["command"]
        self.connect(serial)
        self.assertEqual(self.command(serial, uuid)["state"], "error")
        self.assertIn("os-too-old", self.reasons(serial))
        self.policy("access", min_os={"ios": "18.1", "macos": "99"})
        uuid = self.assign(serial, profile="access")["command"]
        self.connect(serial)
        self.assertEqual(self.command(serial, uuid)["state"], "acknowledged")
        self.policy("access")
        # a template without its fact
        serial = "PHONEREF02"
        self.enrol(serial)
        uuid = self.assign(serial, profile="private")["command"]
        self.connect(serial)
        self.assertEqual(self.command(serial, uuid)["state"], "error")
        self.assertIn("fact-missing", self.reasons(serial))
        self.server.put_device(serial, name="x", owner="not a mail address")
        self.assign(serial, profile="private")
        self.connect(serial)
        self.assertIn("fact-unfit", self.reasons(serial))
        self.server.put_device(serial, name="x", owner="c@example.org")
        self.assign(serial, profile="private")
        self.connect(serial)
        path = self.certificate_file(self.identity(serial, "private"), "private")
        text = run("openssl", "x509", "-in", path, "-noout", "-text").stdout
        self.assertNotIn(serial, text)

    def test_leaving_ends_access(self):
        serial = "PHONELEA01"
        self.enrol(serial)
        self.assign(serial, profile="access")
        self.connect(serial)
        path = self.certificate_file(self.identity(serial, "access"), "leaving")
        self.assertEqual(self.ocsp(path), "good")
        self.server.api("DELETE", f"/api/v1/inventory/devices/{serial}")
        self.assertEqual(self.ocsp(path), "revoked")
        self.assertEqual(self.assign(serial, 404, profile="access")["reason"], "device-not-listed")


def settled(condition):
    return wait_for("the renewal", condition)


class Renewal(Base):
    """Identities of a week, due when a test says so and not again by themselves."""
    files = {"management": "[profile]\npurpose = management\nlifetime = 7d\n",
             "short": "[profile]\nlifetime = 7d\n"}
    settings = {"renewal__period": "1", "renewal__retry": "1d", "renewal__grace": "2"}

    def make_due(self, serial, purpose):
        """The first one that it got."""
        database = self.server.database()
        database.execute("UPDATE certificates SET renew_at = ? WHERE device_serial = ? AND purpose = ? "
                         "AND status = 0 AND renews IS NULL AND renew_at IS NOT NULL",
                         (int(time.time()), serial, purpose))
        database.close()

    def management(self, serial):
        """The management certificates, oldest first."""
        return [c for c in reversed(self.server.certificates(serial))
                if c["purpose"] == "management"]

    def pending(self, serial):
        got = self.server.api("GET", f"/api/v1/devices/{serial}/commands").json["commands"]
        return [c["uuid"] for c in got if c["state"] == "queued" and
                c["request_type"] == "InstallProfile"]

    def enrollment(self, serial):
        return self.server.api("GET", f"/api/v1/devices/{serial}").json["enrollment"]

    def identity_file(self, serial):
        return self.server.identity(serial)

    def renewed(self, serial, *more):
        """Its identity is due: waits for the push and lets the device have it."""
        self.make_due(serial, "management")
        settled(lambda: self.pending(serial))
        return self.connect(serial, *more)

    def test_management(self):
        serial = "RENEWMAN01"
        self.enrol(serial)
        first = self.identity_file(serial)
        with open(first, encoding="ascii") as f:
            old = f.read()
        before = self.enrollment(serial)
        uuid = self.server.command(serial, request_type="SecurityInfo")
        self.renewed(serial)
        after = self.enrollment(serial)
        # MB-20: it is the same enrolment; what was queued for it arrived
        self.assertEqual(after["state"], "enrolled")
        self.assertEqual((before["udid"], before["enrolled_at"]),
                         (after["udid"], after["enrolled_at"]))
        self.assertEqual(self.command(serial, uuid)["state"], "acknowledged")
        self.assertNotEqual(old, open(self.identity_file(serial), encoding="ascii").read())
        certs = self.management(serial)
        self.assertEqual(certs[0]["status"], "revoked")
        self.assertEqual(certs[0]["reason"], "superseded")
        self.assertEqual(certs[-1]["status"], "good")
        actions = [a["action"] for a in self.server.api("GET", "/api/v1/audit").json["audit"]
                   if a["subject"] == serial]
        self.assertIn("enrollment.renewed", actions)
        self.assertEqual(actions.count("enrollment.authenticate"), 1)
        # the old identity is over
        path = os.path.join(self.server.dir, "old.pem")
        with open(path, "w", encoding="ascii") as f:
            f.write(old)
        body = (b'<?xml version="1.0"?><plist version="1.0"><dict><key>Status</key><string>Idle'
                b'</string></dict></plist>')
        got = self.server.request(self.server.device, "PUT", "/mdm/connect", body, {},
                                  self.server.tls(path))
        self.assertEqual(got.status, 403, got)
        self.assertNotIn(b"unrecognized", got.body)

    def test_lost_renewal_strands_nobody(self):
        """Issued, then lost: the old identity works on, and the next try brings a new one."""
        serial = "RENEWLOST1"
        self.enrol(serial)
        self.renewed(serial, "--lose-identity")
        certs = settled(lambda: len(self.management(serial)) >= 2 and self.management(serial))
        self.assertEqual([c["status"] for c in certs], ["good", "good"])
        lost = certs[-1]["serial"]
        self.connect(serial, "--lose-identity")  # by the old identity, as ever
        self.renewed(serial)
        certs = {c["serial"]: c for c in self.management(serial)}
        self.assertEqual(certs[lost]["status"], "revoked")
        good = [c for c in certs.values() if c["status"] == "good"]
        self.assertEqual(len(good), 1, certs)
        self.connect(serial)

    def test_server_killed_between_issue_and_first_use(self):
        serial = "RENEWKILL1"
        self.enrol(serial)
        self.renewed(serial, "--lose-identity")
        self.server.kill()
        self.server.start()
        self.connect(serial)
        settled(lambda: self.management(serial)[-1]["status"] == "good" and
                self.renewed(serial) and self.management(serial)[0]["status"] == "revoked")

    def test_access(self):
        """The new one is there, then the old one ends, after its grace."""
        serial = "RENEWACC01"
        self.enrol(serial)
        self.assign(serial, profile="short")
        self.connect(serial)
        first = self.identity(serial, "short")
        old = self.certificate_file(first, "access-old")
        self.make_due(serial, "access")

        def moved():
            self.connect(serial)
            return self.identity(serial, "short") not in (None, first)
        settled(moved)
        self.assertEqual(self.ocsp(old), "good")
        self.make_due(serial, "access")  # looked at again, as it is behind [renewal] retry
        settled(lambda: self.ocsp(old) == "revoked")
        new = self.certificate_file(self.identity(serial, "short"), "access-new")
        self.assertEqual(self.ocsp(new), "good")
        # taken back: nothing is renewed any more
        self.server.api("DELETE", f"/api/v1/devices/{serial}/profiles/short")
        self.connect(serial)
        self.assertIsNone(self.identity(serial, "short"))


class Away(Base):
    """A device that comes back behind the end of its certificate (MB-30)."""
    files = {"management": "[profile]\npurpose = management\nlifetime = 20\nrenew_at = 5\n"
                           "testing = yes\n"}
    settings = {"renewal__period": "1", "renewal__retry": "1"}

    def test_expired(self):
        serial = "AWAYEXP001"
        self.enrol(serial)
        first = self.server.certificates(serial)[0]
        end = time.strptime(first["not_after"], "%Y-%m-%dT%H:%M:%SZ")
        wait_for("the certificate is over", lambda: time.gmtime() > end)
        path = self.server.identity(serial)
        done = run("openssl", "x509", "-in", path, "-noout", "-checkend", "0", check=False)
        self.assertEqual(done.returncode, 1, done.stdout)  # expired indeed

        def back():
            self.connect(serial)
            return self.server.certificates(serial)[-1]["status"] == "revoked"
        settled(back)
        self.connect(serial)


if __name__ == "__main__":
    unittest.main()
