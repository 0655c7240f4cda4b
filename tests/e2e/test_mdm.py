"""The MDM endpoints on the wire: identity, refusals that unenrol nobody, leaving."""
import os
import plistlib
import unittest

from testudo import Server

CHECKIN = "application/x-apple-aspen-mdm-checkin"
MDM = "application/x-apple-aspen-mdm; charset=UTF-8"


class Mdm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.server.init()
        cls.server.start()
        summary = cls.server.fleet(4, None, "--prefix", "MDM")
        assert summary["enrolled"] == 4, summary
        cls.identities = {}
        for serial in ("MDM0000001", "MDM0000002", "MDM0000003", "MDM0000004"):
            cls.identities[serial] = cls.server.identity(serial), cls.server.udid(serial)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def put(self, path, message, serial=None, content_type=MDM, headers=None, raw=None):
        context = self.server.tls(self.identities[serial][0]) if serial else None
        body = raw if raw is not None else plistlib.dumps(message)
        return self.server.request(self.server.device, "PUT", path, body,
                                   {"Content-Type": content_type, **(headers or {})}, context)

    def idle(self, serial, path="/mdm/connect"):
        return self.put(path, {"Status": "Idle", "UDID": self.identities[serial][1]}, serial)

    def test_idle_is_200_with_zero_bytes(self):
        for path in ("/mdm/connect", "/mdm"):
            answer = self.idle("MDM0000001", path)
            self.assertEqual((answer.status, answer.body), (200, b""))

    def test_never_401(self):
        """Whatever comes, the answer does not remove the profile of an innocent device."""
        udid = self.identities["MDM0000001"][1]
        cases = [
            ("/mdm/connect", {"Status": "Idle", "UDID": udid}, None, MDM, None),
            ("/mdm/checkin", {"MessageType": "TokenUpdate", "UDID": udid}, None, CHECKIN, None),
            ("/mdm/connect", None, "MDM0000001", MDM, b""),
            ("/mdm/connect", None, "MDM0000001", MDM, b"<?xml"),
            ("/mdm/connect", None, "MDM0000001", MDM, b"\x00" * 100),
            ("/mdm/checkin", None, "MDM0000001", CHECKIN, b"bplist00" + b"\xff" * 40),
            ("/mdm/checkin", {"MessageType": "Nonsense", "UDID": udid}, "MDM0000001", CHECKIN, None),
            ("/mdm/checkin", {"MessageType": 5, "UDID": udid}, "MDM0000001", CHECKIN, None),
            ("/mdm/checkin", {"MessageType": "Authenticate", "UDID": udid}, "MDM0000001", CHECKIN,
             None),
            ("/mdm/connect", {"Status": "Idle", "UDID": "SOMEBODY-ELSE"}, "MDM0000001", MDM, None),
            ("/mdm/connect", {"UDID": udid}, "MDM0000001", MDM, None),
            ("/mdm/connect", [1, 2], "MDM0000001", MDM, None),
        ]
        for path, message, serial, kind, raw in cases:
            with self.subTest(path=path, message=message, raw=raw):
                answer = self.put(path, message, serial, kind, raw=raw)
                self.assertNotEqual(answer.status, 401, answer)
                self.assertNotIn(b"com.apple.unrecognized.device", answer.body)
                self.assertLess(answer.status, 500, answer)
        self.assertEqual(self.idle("MDM0000001").status, 200)

    def test_another_devices_certificate(self):
        """A valid certificate of ours speaks for its own device alone."""
        udid = self.identities["MDM0000001"][1]
        answer = self.put("/mdm/connect", {"Status": "Idle", "UDID": udid}, "MDM0000002")
        self.assertEqual(answer.status, 403, answer)
        answer = self.put("/mdm/checkin", {
            "MessageType": "Authenticate", "UDID": udid, "Topic": "com.apple.mgmt.External.testudo",
            "SerialNumber": "MDM0000001"}, "MDM0000002", CHECKIN)
        self.assertEqual(answer.status, 403, answer)
        self.assertEqual(self.idle("MDM0000001").status, 200)

    def test_foreign_certificate(self):
        """A certificate of another CA for the same name is nobody."""
        from testudo import run
        path = os.path.join(self.server.dir, "foreign.pem")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", "/CN=MDM0000001", "-days", "2", "-keyout", path + ".key", "-out",
            path)
        answer = self.server.request(
            self.server.device, "PUT", "/mdm/connect",
            plistlib.dumps({"Status": "Idle", "UDID": self.identities["MDM0000001"][1]}),
            {"Content-Type": MDM}, self.server.tls(path, path + ".key"))
        self.assertIn(answer.status, (400, 403))

    def test_body_limits(self):
        limit = 262144
        udid = self.identities["MDM0000001"][1]
        answer = self.put("/mdm/checkin", None, "MDM0000001", CHECKIN, raw=b" " * (limit + 1))
        self.assertEqual(answer.status, 413)
        message = {"MessageType": "Nonsense", "UDID": udid, "Pad": ""}
        fill = limit - len(plistlib.dumps(message))
        message["Pad"] = "x" * fill
        self.assertEqual(len(plistlib.dumps(message)), limit)
        self.assertEqual(self.put("/mdm/checkin", message, "MDM0000001", CHECKIN).status, 400)

    def test_notnow_is_kept_and_others_served(self):
        serial, (_, udid) = "MDM0000003", self.identities["MDM0000003"]
        first = self.server.command(serial, request_type="SecurityInfo")
        second = self.server.command(serial, request_type="ProfileList")
        got = plistlib.loads(self.idle(serial).body)
        self.assertEqual(got["CommandUUID"], first)
        answer = self.put("/mdm/connect", {"Status": "NotNow", "UDID": udid, "CommandUUID": first},
                          serial)
        self.assertEqual(plistlib.loads(answer.body)["CommandUUID"], second)
        answer = self.put("/mdm/connect", {"Status": "Acknowledged", "UDID": udid,
                                           "CommandUUID": second}, serial)
        # served again at the next Idle, or in this session: never lost
        body = answer.body or self.idle(serial).body
        self.assertEqual(plistlib.loads(body)["CommandUUID"], first)
        self.put("/mdm/connect", {"Status": "Error", "UDID": udid, "CommandUUID": first,
                                  "ErrorChain": [{"ErrorCode": 1, "ErrorDomain": "d",
                                                  "LocalizedDescription": "x"}]}, serial)
        state = self.server.api("GET", f"/api/v1/devices/{serial}/commands/{first}").json
        self.assertEqual((state["state"], state["notnow_count"]), ("error", 1))

    def test_raw_command(self):
        serial = "MDM0000003"
        raw = plistlib.dumps({"Command": {"RequestType": "DeviceLock", "Message": "<&>"}})
        answer = self.server.api("POST", f"/api/v1/devices/{serial}/commands", raw,
                                 content_type="application/xml")
        self.assertEqual(answer.status, 201, answer)
        got = plistlib.loads(self.idle(serial).body)
        self.assertEqual(got["Command"], {"RequestType": "DeviceLock", "Message": "<&>"})
        self.server.connect("--serial", serial)

    def test_leaving(self):
        """From the DELETE on: revoked, RemoveProfile alone, then gone."""
        serial, (_, udid) = "MDM0000004", self.identities["MDM0000004"]
        waiting = self.server.command(serial, request_type="SecurityInfo")
        self.assertEqual(self.server.api("DELETE", f"/api/v1/inventory/devices/{serial}").status,
                         204)
        state = self.server.api("GET", f"/api/v1/devices/{serial}/commands/{waiting}").json
        self.assertEqual(state["state"], "cancelled")
        again = self.server.api("POST", f"/api/v1/devices/{serial}/commands",
                                {"request_type": "SecurityInfo"})
        self.assertEqual(again.status, 409, again)
        served = plistlib.loads(self.idle(serial).body)
        self.assertEqual(served["Command"], {"RequestType": "RemoveProfile",
                                             "Identifier": "org.testudo.enrollment"})
        answer = self.put("/mdm/checkin", {
            "MessageType": "Authenticate", "UDID": udid, "SerialNumber": serial,
            "Topic": "com.apple.mgmt.External.testudo"}, serial, CHECKIN)
        self.assertEqual(answer.status, 403)
        answer = self.put("/mdm/connect", {"Status": "Acknowledged", "UDID": udid,
                                           "CommandUUID": served["CommandUUID"]}, serial)
        self.assertEqual(answer.status, 200)
        device = self.server.api("GET", f"/api/v1/devices/{serial}").json
        self.assertEqual((device["listed"], device["enrollment"]["state"]), (False, "removed"))

    def test_tls_without_client_certificate_on_public(self):
        """The public listener asks for no certificate (browsers, SCEP), the device one does."""
        context = self.server.tls(self.identities["MDM0000001"][0])
        answer = self.server.request(self.server.public, "PUT", "/mdm/connect",
                                     plistlib.dumps({"Status": "Idle"}), {"Content-Type": MDM},
                                     context)
        self.assertEqual(answer.status, 400)


if __name__ == "__main__":
    unittest.main()
