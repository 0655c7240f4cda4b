"""Many devices at once: also what the server does under ThreadSanitizer."""
import base64
import json
import os
import threading
import unittest

from testudo import Server

COUNT = 40


class Fleet(unittest.TestCase):
    def test_enrol_command_leave(self):
        """A fleet enrols while others connect, list, queue and leave."""
        with Server() as server:
            summary = server.fleet(COUNT, None, "--prefix", "FLEET", "--threads", "16")
            self.assertEqual((summary["enrolled"], summary["failed"]), (COUNT, 0), summary)
            serials = [d["serial"] for d in
                       server.api("GET", "/api/v1/devices?limit=1000").json["devices"]]
            self.assertEqual(len(serials), COUNT)
            uuids = {s: server.command(s, request_type="SecurityInfo") for s in serials}
            trouble = []

            def others():
                try:
                    for serial in serials[:10]:
                        server.certificates(serial)
                        server.attempts(serial)
                    self.assertEqual(server.fleet(5, None, "--prefix", "MORE")["failed"], 0)
                except Exception as e:  # shown below, on the main thread
                    trouble.append(e)

            thread = threading.Thread(target=others)
            thread.start()
            done = json.loads(server.connect("--all", "--json", "--threads", "16").stdout)
            thread.join()
            self.assertFalse(trouble, trouble)
            self.assertGreaterEqual(done["commands"], COUNT)
            for serial, uuid in uuids.items():
                got = server.api("GET", f"/api/v1/devices/{serial}/commands/{uuid}").json
                self.assertEqual(got["state"], "acknowledged")
            for serial in serials[:5]:
                self.assertEqual(server.api("DELETE", f"/api/v1/inventory/devices/{serial}").status,
                                 204)
                self.assertEqual({c["status"] for c in server.certificates(serial)}, {"revoked"})

    def test_signatures_instead_of_client_certificates(self):
        with Server(**{"enroll-sign_message": "yes"}) as server:
            summary = server.fleet(3, None, "--prefix", "SIG", "--signature")
            self.assertEqual((summary["enrolled"], summary["failed"]), (3, 0), summary)
            uuid = server.command("SIG0000001", request_type="ProfileList")
            server.connect("--serial", "SIG0000001", "--signature")
            got = server.api("GET", f"/api/v1/devices/SIG0000001/commands/{uuid}").json
            self.assertEqual(got["state"], "acknowledged")

    def test_p384_devices(self):
        with Server(**{"enroll-key_size": "384"}) as server:
            summary = server.fleet(2, None, "--prefix", "P384")
            self.assertEqual((summary["enrolled"], summary["failed"]), (2, 0), summary)

    def test_posture_of_simulated_devices(self):
        """What --posture says is attested and reported, and stays so in later runs."""
        with Server() as server:
            listed = os.path.join(server.dir, "posture.csv")
            with open(listed, "w", encoding="ascii") as f:
                f.write("serial,model\nMAC1,MacBook Pro\nPHONE1,iPhone\n")
            summary = server.fleet(None, listed, "--put-inventory", "--posture",
                                   "sip=off,os=15.0,passcode=off")
            self.assertEqual((summary["enrolled"], summary["failed"]), (2, 0), summary)
            facts = {s: server.api("GET", f"/api/v1/devices/{s}/evidence").json["evidence"][0]["facts"]
                     for s in ("MAC1", "PHONE1")}
            self.assertEqual([(f["sip"], f["os_version"], f["secure_boot"]) for f in facts.values()],
                             [("disabled", "15.0", "Full Security"), (None, "15.0", None)])

            def said(serial, *posture, **members):
                uuid = server.command(serial, **members or {"request_type": "SecurityInfo"})
                server.connect("--serial", serial, "--pki", server.pki, *posture)
                return server.api("GET", f"/api/v1/devices/{serial}/commands/{uuid}").json["result"]

            self.assertFalse(said("PHONE1")["SecurityInfo"]["PasscodePresent"])
            self.assertTrue(said("PHONE1", "--posture", "passcode=on")["SecurityInfo"]["PasscodePresent"])
            self.assertTrue(said("PHONE1")["SecurityInfo"]["PasscodePresent"])
            got = said("MAC1", "--posture", "filevault=off,secure_boot=off,firewall=unknown")["SecurityInfo"]
            self.assertEqual((got["FDE_Enabled"], got["SystemIntegrityProtectionEnabled"],
                              got["SecureBoot"]["SecureBootLevel"]), (False, False, "off"))
            self.assertNotIn("FirewallEnabled", got["FirewallSettings"])
            got = said("MAC1", "--posture", "lie=on", request_type="DeviceInformation",
                       queries=["OSVersion", "DevicePropertiesAttestation"],
                       device_attestation_nonce="AAEC")["QueryResponses"]
            self.assertEqual(got["OSVersion"], "15.1")
            leaf = base64.b64decode(got["DevicePropertiesAttestation"][0])
            for truth in (b"Permissive Security", b"15.0"):
                self.assertIn(truth, leaf)
            self.assertTrue(said("MAC1")["SecurityInfo"]["FDE_Enabled"])


if __name__ == "__main__":
    unittest.main()
