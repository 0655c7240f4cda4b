"""The UDID that an enrolment claims, beside the one that its device attested."""
import plistlib
import unittest

from test_acme import ARC, Base
from testudo import b64url

UDID, OTHER = "00008120-001A2B3C4D5E6F70", "00008120-001A2B3C4D5E6F71"
MAC = "4A348D39-91E0-8B21-2029-701B1A0E1332"


def text(value):
    return value.encode().hex()


class Udid(Base):
    count = 0

    def authenticate(self, udid, **facts):
        """An identity of a new device that attests so, and its Authenticate with that UDID."""
        type(self).count += 1
        serial = f"UDID{self.count:06}"
        self.server.put_device(serial)
        c, order, challenge = self.pending(serial)
        key, obj = self.attestation(c, challenge["token"], serial,
                                    **{f"{ARC}.{oid}": value for oid, value in facts.items()})
        got = c.post(challenge["url"], {"attObj": b64url(obj)})
        self.assertEqual(got.json["status"], "valid", got)
        done = c.post(order["finalize"], self.csr(key))
        self.assertEqual(done.json["status"], "valid", done)
        pem = c.path("identity.pem")
        with open(key, "rb") as f, open(pem, "wb") as out:
            out.write(c.post(done.json["certificate"]).body + f.read())
        message = {"MessageType": "Authenticate", "UDID": udid, "SerialNumber": serial,
                   "Topic": "com.apple.mgmt.External.testudo"}
        return serial, self.server.request(
            self.server.device, "PUT", "/mdm/checkin", plistlib.dumps(message),
            {"Content-Type": "application/x-apple-aspen-mdm-checkin"}, self.server.tls(pem))

    def reasons(self, serial):
        return [(a["reason"], a["detail"]) for a in self.server.attempts(serial)]

    def test_taken(self):
        for udid, facts in ((UDID, {"9.2": text(UDID)}),
                            (OTHER, {}),
                            (MAC, {"9.2": text("00006030-000651690A84001C"), "13.1": "020100",
                                   "9.4": text("J514sAP")}),
                            (MAC[::-1], {"9.2": text("00006030-000651690A84001D"),
                                         "13.2": text("Full Security")})):
            with self.subTest(udid=udid, facts=facts):
                serial, got = self.authenticate(udid, **facts)
                self.assertEqual((got.status, got.body), (200, b""), got)

    def test_refused(self):
        for udid, facts in ((OTHER, {"9.2": text(UDID)}),
                            (MAC, {"9.2": text(UDID), "9.4": text("iPhone15,2")})):
            with self.subTest(udid=udid, facts=facts):
                serial, got = self.authenticate(udid, **facts)
                self.assertEqual((got.status, got.body.strip()), (403, b"attested-udid-mismatch"), got)
                self.assertNotIn(b"unrecognized", got.body)  # the device stays as it is
                reason, detail = self.reasons(serial)[0]
                self.assertEqual(reason, "attested-udid-mismatch")
                self.assertIn(UDID, detail)
                self.assertIn(udid, detail)
                enrolled = self.server.api("GET", f"/api/v1/devices/{serial}").json["enrollment"]
                self.assertIsNone(enrolled)


class Ignored(Udid):
    settings = {"enroll__attested_udid": "ignore"}
    test_taken = None

    def test_refused(self):
        serial, got = self.authenticate(OTHER, **{"9.2": text(UDID)})
        self.assertEqual(got.status, 200, got)


if __name__ == "__main__":
    unittest.main()
