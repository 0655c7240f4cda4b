"""What a server owes its devices, on the wire: contrib/doc/behaviours.md says which MB item is which."""
import base64
import hashlib
import os
import plistlib
import sqlite3
import ssl
import subprocess
import threading
import time
import unittest

from testudo import DEADLINE, Server, run

CHECKIN = "application/x-apple-aspen-mdm-checkin"
MDM = "application/x-apple-aspen-mdm; charset=UTF-8"
TOPIC = "com.apple.mgmt.External.testudo"
ORGANIZATION = "Miller & Sons <Ltd> Größe"
UNRECOGNIZED = b"com.apple.unrecognized.device"
DEVICES = 26


class Device:
    """An enrolled simulated device, spoken for byte by byte."""

    def __init__(self, server, serial, state=None):
        self.server, self.serial = server, serial
        self.pem, self.udid = server.identity(serial, state), server.udid(serial)

    def put(self, path, body, kind, pem=None):
        body = body if isinstance(body, bytes) else plistlib.dumps(body)
        return self.server.request(self.server.device, "PUT", path, body, {"Content-Type": kind},
                                   self.server.tls(pem or self.pem))

    def checkin(self, kind, pem=None, **members):
        message = {"MessageType": kind, "UDID": self.udid, "Topic": TOPIC}
        message.update(members)
        return self.put("/mdm/checkin", message, CHECKIN, pem)

    def token_update(self, **members):
        return self.checkin("TokenUpdate", **{"PushMagic": "magic", "Token": b"\x01" * 32,
                                              **members})

    def report(self, status, uuid=None, **members):
        message = {"Status": status, "UDID": self.udid, **members}
        if uuid:
            message["CommandUUID"] = uuid
        return self.put("/mdm/connect", message, MDM)

    def idle(self):
        return self.report("Idle")

    @property
    def enrollment(self):
        return self.server.api("GET", f"/api/v1/devices/{self.serial}").json["enrollment"]

    def command(self, kind="SecurityInfo"):
        return self.server.command(self.serial, request_type=kind)

    def state(self, uuid):
        return self.server.api("GET", f"/api/v1/devices/{self.serial}/commands/{uuid}").json


def uuid_in(answer):
    """The CommandUUID served; None for an answer of zero bytes."""
    return plistlib.loads(answer.body)["CommandUUID"] if answer.body else None


class Behaviours(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(**{"server-organization": ORGANIZATION})
        cls.server.init()
        cls.server.start()
        summary = cls.server.fleet(DEVICES, None, "--prefix", "MB")
        assert summary["enrolled"] == DEVICES, summary
        cls.free = [f"MB{i + 1:07}" for i in range(DEVICES)]

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def device(self):
        """A device no other test uses."""
        return Device(self.server, self.free.pop())

    def empty(self, answer):
        self.assertEqual((answer.status, answer.body), (200, b""), answer)

    def refused(self, answer, status, reason):
        """Refused with our reason, and in no way that removes the profile."""
        self.assertEqual((answer.status, answer.body.decode().strip()), (status, reason))

    def enrol_again(self, serial):
        """Another enrolment of the same device: a new key, certificate, and state."""
        folder = os.path.join(self.server.dir, "again", serial)
        os.makedirs(folder, exist_ok=True)
        self.server.sim("enroll", "--url", self.server.invite(serial), "--serial", serial,
                        "--state", folder, "--cacert", self.server.root, "--pki", self.server.pki)
        return Device(self.server, serial, folder)

    def database(self):
        db = self.server.database()
        self.addCleanup(db.close)
        return db

    # --- answers that change a device's fate ---

    def test_database_outage(self):
        """MB-2: while the database takes no writes a device hears 503, and is as it was after."""
        if self.server.database_name:
            self.skipTest("how SQLite takes no writes; PostgreSQL's ways are in test_nodes")
        d, db = self.device(), self.database()
        before = d.enrollment
        db.execute("BEGIN IMMEDIATE")
        answer = d.token_update()
        self.assertEqual(answer.status, 503, answer)
        self.assertNotIn(UNRECOGNIZED, answer.body)
        self.empty(d.idle())  # reads go on
        db.execute("ROLLBACK")
        self.empty(d.token_update())
        self.assertEqual(d.enrollment["enrolled_at"], before["enrolled_at"])

    def test_unrecognized_is_one_deliberate_path(self):
        """MB-3, MB-4: the body that unenrols goes to a device that left and is done, only there."""
        d = self.device()
        self.assertEqual(self.server.api("DELETE",
                                         f"/api/v1/inventory/devices/{d.serial}").status, 204)
        self.refused(d.token_update(), 403, "leaving")
        self.refused(d.checkin("Authenticate", SerialNumber=d.serial), 403, "leaving")
        removal = uuid_in(d.idle())
        self.empty(d.report("NotNow", removal))
        self.assertEqual(uuid_in(d.idle()), removal)
        self.empty(d.report("Acknowledged", removal))
        answer = d.idle()
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (403, "application/json"))
        self.assertEqual(answer.json["code"], UNRECOGNIZED.decode())
        for answer in (d.token_update(), d.checkin("Authenticate"), d.checkin("GetBootstrapToken")):
            self.assertNotIn(UNRECOGNIZED, answer.body)

    def test_removal_that_fails(self):
        """MB-4: a device that left and cannot remove the profile hears the other way."""
        d = self.device()
        self.server.api("DELETE", f"/api/v1/inventory/devices/{d.serial}")
        answer = d.report("Error", uuid_in(d.idle()))
        self.assertEqual(answer.status, 403)
        self.assertIn(UNRECOGNIZED, answer.body)

    def test_user_authenticate(self):
        """MB-6, MB-7: 410 declines a user, by the exact name of the message, and nothing else."""
        d = self.device()
        self.refused(d.checkin("UserAuthenticate", UserID="U-1"), 410, "user-not-managed")
        self.refused(d.checkin("UserAutenticate", UserID="U-1"), 400, "message-unsupported")
        self.refused(d.put("/mdm/connect", {"Status": "Idle", "UDID": "NOBODY"}, MDM), 403,
                     "udid-mismatch")
        self.empty(d.idle())

    def test_unknown_message_type(self):
        """MB-11: what Apple adds is refused softly, kept for the administrator, and harms nothing."""
        d = self.device()
        for kind in ("ReturnToService", "GetToken", "DeclarativeManagement", "Message2031"):
            self.refused(d.checkin(kind), 400, "message-unsupported")
        self.assertIn("message-unsupported", [a["reason"] for a in self.server.attempts(d.serial)])
        self.empty(d.idle())
        self.assertEqual(d.enrollment["state"], "enrolled")

    # --- enrolment ---

    def test_reenrolment(self):
        """MB-12, MB-13: a new certificate is a new enrolment; queue and old certificate are over."""
        d = self.device()
        waiting, sent = d.command("SecurityInfo"), None
        sent = uuid_in(d.idle())
        self.assertEqual(sent, waiting)
        waiting = d.command("ProfileList")
        new = self.enrol_again(d.serial)
        self.assertEqual(new.udid, d.udid)
        self.assertEqual({new.state(u)["state"] for u in (sent, waiting)}, {"cancelled"})
        self.empty(new.idle())
        self.refused(d.idle(), 403, "cert-not-pinned")
        self.refused(d.token_update(), 403, "cert-not-pinned")
        self.refused(d.checkin("Authenticate", SerialNumber=d.serial), 403, "cert-revoked")
        self.refused(d.checkin("CheckOut"), 403, "cert-not-pinned")
        certs = self.server.certificates(d.serial)
        self.assertEqual(sorted((c["status"], c.get("reason")) for c in certs),
                         [("good", None), ("revoked", "superseded")])
        self.assertEqual(new.enrollment["state"], "enrolled")

    def test_token_refresh_is_no_enrolment(self):
        """MB-14: only the first TokenUpdate is the enrolment. MB-22: none is answered by a command."""
        d = self.device()
        uuid = d.command()
        for _ in range(3):
            self.empty(d.token_update())
        rows = self.server.api("GET", "/api/v1/audit?limit=1000").json["audit"]
        self.assertEqual([r["subject"] for r in rows
                          if r["action"] == "enrollment.enrolled"].count(d.serial), 1)
        self.assertEqual(uuid_in(d.idle()), uuid)

    def test_unlock_token_and_awaiting_are_kept(self):
        """MB-15, MB-16: what a TokenUpdate leaves out stays. MB-15: it goes with the enrolment."""
        d, db = self.device(), self.database()

        def row():
            return db.execute("SELECT unlock_token, awaiting FROM enrollments WHERE id = ?",
                              (d.udid,)).fetchone()

        self.empty(d.token_update(UnlockToken=b"unlock", AwaitingConfiguration=True))
        self.empty(d.token_update())
        self.assertEqual(row(), (b"unlock", 1))
        self.empty(d.token_update(AwaitingConfiguration=False))
        self.assertEqual(row(), (b"unlock", 0))
        self.empty(d.checkin("CheckOut"))
        self.assertIsNone(row()[0])

    def test_setup_assistant(self):
        """MB-17: a device that waits is told to go on though nothing else is there for it."""
        d = self.device()
        self.empty(d.token_update(AwaitingConfiguration=True))
        served = plistlib.loads(d.idle().body)
        self.assertEqual(served["Command"], {"RequestType": "DeviceConfigured"})
        self.empty(d.report("NotNow", served["CommandUUID"]))
        self.assertEqual(uuid_in(d.idle()), served["CommandUUID"])
        self.empty(d.report("Acknowledged", served["CommandUUID"]))
        self.empty(d.idle())

    def test_check_out_and_back(self):
        """MB-18: CheckOut ends an enrolment and a new Authenticate restores it. MB-23: a device may
        stop behind Authenticate: no commands, no push, no harm. MB-21: Authenticate may be repeated."""
        d = self.device()
        uuid = d.command()
        self.empty(d.checkin("CheckOut"))
        self.assertEqual((d.enrollment["state"], d.enrollment["pushable"]), ("removed", False))
        self.assertEqual(d.state(uuid)["state"], "cancelled")
        self.empty(d.checkin("CheckOut"))
        for _ in range(2):
            self.empty(d.checkin("Authenticate", SerialNumber=d.serial, OSVersion="18.2"))
        self.assertEqual((d.enrollment["state"], d.enrollment["pushable"], d.enrollment["left_at"]),
                         ("authenticated", False, None))
        self.empty(d.idle())
        answer = self.server.api("POST", f"/api/v1/devices/{d.serial}/commands",
                                 {"request_type": "SecurityInfo"})
        self.assertEqual((answer.status, answer.json["reason"]), (409, "not-enrolled"))
        self.empty(d.token_update())
        self.assertEqual((d.enrollment["state"], d.enrollment["pushable"]), ("enrolled", True))

    def test_user_check_out(self):
        """MB-19: a user's CheckOut, legal and common, is not the device's. MB-67: nor his token."""
        d, db = self.device(), self.database()
        self.empty(d.checkin("CheckOut", UserID="U-1", UserShortName="ada"))
        self.empty(d.token_update(UserID="U-1", PushMagic="the user's", Token=b"\x02" * 32))
        magic = db.execute("SELECT push_magic FROM enrollments WHERE id = ?", (d.udid,)).fetchone()
        self.assertNotEqual(magic[0], "the user's")
        uuid = d.command()
        self.empty(d.report("Idle", UserID="U-1"))
        self.assertEqual(uuid_in(d.idle()), uuid)

    def test_authenticate_retried(self):
        """MB-21: the same certificate again resets nothing."""
        d = self.device()
        uuid, before = d.command(), d.enrollment
        self.empty(d.checkin("Authenticate", SerialNumber=d.serial))
        after = d.enrollment
        self.assertEqual([after[k] for k in ("state", "authenticated_at", "pushable", "queued")],
                         [before[k] for k in ("state", "authenticated_at", "pushable", "queued")])
        self.assertEqual(uuid_in(d.idle()), uuid)

    def test_backup_holds_the_push_tokens(self):
        """MB-24: a copy of the database made while serving has what cannot be asked for again."""
        if self.server.database_name:
            self.skipTest("sqlite3's own backup; ours is in test_db")
        d = self.device()
        copy = sqlite3.connect(":memory:")
        self.addCleanup(copy.close)
        self.database().backup(copy)
        token, magic = copy.execute("SELECT push_token, push_magic FROM enrollments WHERE id = ?",
                                    (d.udid,)).fetchone()
        self.assertTrue(len(token) >= 8 and magic)

    # --- identity ---

    def test_stranger_with_a_signature(self):
        """MB-26: a valid signature alone proves nothing. MB-2: and is no 401."""
        d, folder = self.device(), self.server.dir
        pem, body = os.path.join(folder, "stranger.pem"), os.path.join(folder, "stranger.body")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", f"/CN={d.serial}", "-days", "2", "-keyout", pem + ".key", "-out", pem)
        for path, kind, message, reason in (
                ("/mdm/connect", MDM, {"Status": "Idle", "UDID": d.udid}, "cert-unknown"),
                ("/mdm/checkin", CHECKIN, {"MessageType": "CheckOut", "UDID": d.udid,
                                           "Topic": TOPIC}, "cert-unknown"),
                ("/mdm/checkin", CHECKIN, b"no property list", "cert-unknown")):
            data = message if isinstance(message, bytes) else plistlib.dumps(message)
            with open(body, "wb") as f:
                f.write(data)
            done = subprocess.run(["openssl", "cms", "-sign", "-binary", "-in", body, "-signer", pem,
                                   "-inkey", pem + ".key", "-outform", "DER"],
                                  capture_output=True, check=True)
            for base in (self.server.device, self.server.public):
                answer = self.server.request(base, "PUT", path, data, {
                    "Content-Type": kind,
                    "Mdm-Signature": base64.b64encode(done.stdout).decode()})
                self.refused(answer, 403, reason)
        self.empty(d.idle())

    def expired(self, d):
        """A certificate of our CA for that device, recorded as issued, expired years ago."""
        folder, ca = os.path.join(self.server.dir, "expired"), os.path.join(self.server.dir, "ca")
        os.mkdir(folder)
        path = lambda name: os.path.join(folder, name)
        open(path("index"), "wb").close()
        with open(path("serial"), "w", encoding="ascii") as f:
            f.write("7B0102030405060708090A0B0C0D0E0F\n")
        with open(path("conf"), "w", encoding="ascii") as f:
            f.write(f"""[ca]
default_ca=d
[d]
database={path("index")}
serial={path("serial")}
new_certs_dir={folder}
certificate={ca}/issuing.crt
private_key={ca}/issuing.key
default_md=sha256
policy=p
x509_extensions=e
[p]
commonName=supplied
[e]
keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
""")
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", f"/CN={d.serial}", "-keyout", path("key"), "-out", path("csr"))
        run("openssl", "ca", "-config", path("conf"), "-batch", "-notext", "-in", path("csr"),
            "-out", path("crt"), "-startdate", "20200101000000Z", "-enddate", "20200201000000Z")
        with open(path("crt"), encoding="ascii") as f:
            text = f.read()
        der = ssl.PEM_cert_to_DER_cert(text)
        spki = subprocess.run(["openssl", "pkey", "-in", path("key"), "-pubout", "-outform", "DER"],
                              capture_output=True, check=True).stdout
        self.database().execute(
            "INSERT INTO certificates (serial, device_serial, profile, purpose, sha256, "
            "spki_sha256, der, not_before, not_after, status, created_at) "
            "VALUES (?, ?, 'management', 'management', ?, ?, ?, 1577836800, 1580515200, 0, ?)",
            (bytes.fromhex("7B0102030405060708090A0B0C0D0E0F"), d.serial,
             hashlib.sha256(der).digest(), hashlib.sha256(spki).digest(), der, int(time.time())))
        with open(path("key"), encoding="ascii") as f:
            text += f.read()
        with open(path("pem"), "w", encoding="ascii") as f:
            f.write(text)
        return path("pem")

    def test_expired_identity(self):
        """MB-30: NotAfter locks nobody out; who is too late to renew still speaks and is managed."""
        d = self.device()
        d.pem = self.expired(d)
        self.empty(d.checkin("Authenticate", SerialNumber=d.serial))
        self.empty(d.token_update())
        uuid = d.command()
        self.assertEqual(uuid_in(d.idle()), uuid)

    def test_certificates_are_backdated(self):
        """MB-31: a device's clock may be minutes behind ours."""
        cert = self.server.certificates(self.free[0])[0]
        began = time.strptime(cert["not_before"], "%Y-%m-%dT%H:%M:%SZ")
        self.assertGreaterEqual(time.mktime(time.gmtime()) - time.mktime(began), 300)

    def test_delete_and_add_again(self):
        """A device that left and is listed again begins anew: certificate, queue, enrolment, links
        and identifiers of before stay dead (MB-13)."""
        d = self.device()
        path = f"/api/v1/inventory/devices/{d.serial}"
        link, waiting = self.server.invite(d.serial), d.command()
        self.server.api("DELETE", path)
        stale = self.server.api("PUT", path, {"name": "x"}, headers={"If-Match": "*"})
        self.assertEqual(stale.status, 412)  # an update never lists what has left
        self.server.put_device(d.serial)
        self.assertEqual(self.server.get(self.server.public,
                                         link.removeprefix(self.server.public)).status, 410)
        self.assertEqual({c["status"] for c in self.server.certificates(d.serial)}, {"revoked"})
        self.refused(d.checkin("Authenticate", SerialNumber=d.serial), 403, "leaving")
        self.assertEqual(plistlib.loads(d.idle().body)["Command"]["RequestType"], "RemoveProfile")
        new = self.enrol_again(d.serial)
        self.assertEqual(new.enrollment["state"], "enrolled")
        self.empty(new.idle())
        self.assertEqual(new.state(waiting)["state"], "cancelled")
        self.refused(d.idle(), 403, "cert-not-pinned")
        self.refused(d.checkin("Authenticate", SerialNumber=d.serial), 403, "cert-revoked")

    def test_leaving_races_with_enrolment(self):
        """Devices leave and come back while they enrol: behind the last DELETE nothing is good."""
        serials, over = [f"RACE{i:07}" for i in range(1, 13)], threading.Event()

        def churn():
            while not over.is_set():
                for serial in serials:
                    self.server.api("DELETE", f"/api/v1/inventory/devices/{serial}")
                    self.server.put_device(serial)

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            self.server.sim("fleet", *self.server.sim_args, "--count", len(serials), "--prefix",
                            "RACE", "--put-inventory", "--state",
                            os.path.join(self.server.dir, "race"), "--json", check=False,
                            timeout=DEADLINE * 3)
        finally:
            over.set()
            thread.join()
        for serial in serials:
            self.server.api("DELETE", f"/api/v1/inventory/devices/{serial}")
            self.assertNotIn("good", [c["status"] for c in self.server.certificates(serial)])
            answer = self.server.api("GET", f"/api/v1/devices/{serial}")
            if answer.status == 200:
                self.assertIn(answer.json["enrollment"]["state"], ("leaving", "removed"))
                self.assertEqual(answer.json["enrollment"]["queued"], 0)

    # --- the queue ---

    def test_reports(self):
        """MB-47: a report may come twice. MB-48: an undecodable one retires its command. MB-49: an
        unknown CommandUUID is accepted. MB-50: so is an unknown Status, kept verbatim."""
        d = self.device()
        first, second, third = (d.command() for _ in range(3))
        self.assertEqual(uuid_in(d.report("Acknowledged", "9E5E0000-0000-4000-8000-000000000000")),
                         first)
        self.assertEqual(uuid_in(d.report("Acknowledged", first)), second)
        self.assertEqual(uuid_in(d.report("Acknowledged", first)), second)
        self.assertEqual(uuid_in(d.report("Procrastinated", second)), third)
        self.assertEqual([d.state(second)[k] for k in ("state", "status")],
                         ["error", "Procrastinated"])
        broken = plistlib.dumps({"Status": "Acknowledged", "UDID": d.udid, "CommandUUID": third,
                                 "Real": 1.5}).replace(b"<real>1.5</real>", b"<real>nan(</real>")
        self.empty(d.put("/mdm/connect", broken, MDM))
        self.assertEqual(d.state(third)["state"], "error")
        self.empty(d.idle())

    def test_not_now(self):
        """MB-45: NotNow skips a command for the session, not the others, and loops nowhere."""
        d = self.device()
        first, second = d.command("CertificateList"), d.command("SecurityInfo")
        self.assertEqual(uuid_in(d.idle()), first)
        self.assertEqual(uuid_in(d.report("NotNow", first)), second)
        self.empty(d.report("NotNow", second))
        self.empty(d.report("NotNow", second))
        self.assertEqual(uuid_in(d.idle()), first)
        self.assertEqual(uuid_in(d.report("Acknowledged", first)), second)
        self.empty(d.report("Acknowledged", second))
        self.empty(d.idle())

    def test_order_of_commands(self):
        """MB-51: many clients at once lose nothing, and the device gets what the list shows."""
        d = self.device()

        def client():
            for _ in range(8):
                d.command()

        threads = [threading.Thread(target=client) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        listed = [c["uuid"] for c in self.server.api(
            "GET", f"/api/v1/devices/{d.serial}/commands?limit=100").json["commands"]][::-1]
        self.assertEqual(len(listed), 32)
        served, answer = [], d.idle()
        while answer.body:
            served.append(uuid_in(answer))
            answer = d.report("Acknowledged", served[-1])
        self.assertEqual(served, listed)

    def test_command_uuid_is_unique(self):
        """MB-57: a CommandUUID is used once, whatever became of it."""
        d = self.device()
        uuid = "0D15EA5E-0000-4000-8000-00000000000F"
        raw = plistlib.dumps({"CommandUUID": uuid, "Command": {"RequestType": "SecurityInfo"}})

        def post():
            return self.server.api("POST", f"/api/v1/devices/{d.serial}/commands", raw,
                                   content_type="application/xml")

        self.assertEqual(post().status, 201)
        self.assertEqual((post().status, post().json["reason"]), (409, "command-uuid-used"))
        self.empty(d.report("Acknowledged", uuid_in(d.idle())))
        self.assertEqual(post().status, 409)

    # --- formats ---

    def test_bootstrap_token(self):
        """MB-73: with none stored the answer is an empty dictionary; one that would be lost is
        refused, not taken."""
        d = self.device()
        answer = d.checkin("GetBootstrapToken")
        self.assertEqual((answer.status, plistlib.loads(answer.body)), (200, {}))
        self.refused(d.checkin("SetBootstrapToken", BootstrapToken=b"secret"), 400,
                     "bootstrap-token")
        self.empty(d.checkin("SetBootstrapToken"))

    def test_profile(self):
        """MB-74: names are escaped and nothing stands before <?xml. MB-67: no user channel. MB-28:
        what a device refuses to see changed is the same in the next profile."""
        serial, profiles = self.free[0], []
        for _ in range(2):
            url = self.server.invite(serial)
            answer = self.server.get(self.server.public, url.removeprefix(self.server.public))
            path = os.path.join(self.server.dir, "profile.der")
            with open(path, "wb") as f:
                f.write(answer.body)
            text = subprocess.run(["openssl", "cms", "-verify", "-inform", "DER", "-in", path,
                                   "-CAfile", self.server.root, "-purpose", "any", "-binary"],
                                  capture_output=True, check=True).stdout
            self.assertTrue(text.startswith(b"<?xml"))
            profiles.append(plistlib.loads(text))
        self.assertEqual(profiles[0]["PayloadOrganization"], ORGANIZATION)
        self.assertEqual(profiles[0]["PayloadScope"], "System")
        mdm = [next(p for p in profile["PayloadContent"] if p["PayloadType"] == "com.apple.mdm")
               for profile in profiles]
        self.assertNotIn("com.apple.mdm.per-user-connections", mdm[0].get("ServerCapabilities", []))
        for key in ("ServerURL", "CheckInURL", "Topic", "AccessRights", "PayloadIdentifier",
                    "PayloadUUID"):
            self.assertEqual(mdm[0][key], mdm[1][key], key)
        self.assertEqual(profiles[0]["PayloadIdentifier"], profiles[1]["PayloadIdentifier"])
        self.assertNotEqual(mdm[0]["IdentityCertificateUUID"], mdm[1]["IdentityCertificateUUID"])


if __name__ == "__main__":
    unittest.main()
