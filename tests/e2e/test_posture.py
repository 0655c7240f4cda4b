"""Posture: what simulated devices report, what is attested of them, what another system knows; and
what becomes of their access."""
import json
import plistlib
import unittest

from test_profiles import Base
from testudo import wait_for

FILEVAULT = {"fact": "filevault", "value": True, "confirm": 1}


class Posture(Base):
    settings = {"posture-confirm_after": "0", "posture-period": "1"}

    def tearDown(self):
        for rule in self.rules():
            self.api("DELETE", f"posture/rules/{rule['name']}", status=204)

    def api(self, method, path, body=None, status=200, **more):
        got = self.server.api(method, "/api/v1/" + path, body, **more)
        self.assertEqual(got.status, status, got)
        return got.json if got.body else None

    def rules(self):
        return self.api("GET", "posture/rules")["rules"]

    def rule(self, name, **body):
        return self.server.api("PUT", f"/api/v1/posture/rules/{name}", body)

    def posture(self, serial):
        return self.api("GET", f"devices/{serial}/posture")

    def state(self, serial):
        return self.posture(serial)["state"]

    def reach(self, serial, state):
        wait_for(f"{serial} is {state}", lambda: self.state(serial) == state)

    def verdict(self, serial, rule):
        found = [r for r in self.posture(serial)["rules"] if r["rule"] == rule]
        return found[0]["verdict"] if found else None

    def mac(self, serial, **members):
        """Enrolled, with an access identity; the files of its two certificates."""
        self.enrol(serial, model="MacBook Pro", **members)
        self.assign(serial, profile="access")
        self.connect(serial)
        return self.access(serial), self.management(serial)

    def access(self, serial):
        return self.certificate_file(self.identity(serial, "access"), serial + "-access")

    def management(self, serial):
        pem = [c["pem"] for c in self.certificates(serial) if c["purpose"] == "management"][0]
        return self.certificate_file(pem, serial + "-management")

    def certificates(self, serial):
        return self.api("GET", f"devices/{serial}/certificates")["certificates"]

    def status(self, serial, purpose="access"):
        """Of the newest."""
        return [c["status"] for c in self.certificates(serial) if c["purpose"] == purpose][0]

    def report(self, serial, posture=None):
        """The device is asked, and tells."""
        self.api("POST", f"devices/{serial}/posture/refresh")
        self.connect(serial, *(["--posture", posture] if posture else []))

    def audit(self, action, subject):
        rows = self.api("GET", "audit?limit=200")["audit"]
        return [r for r in rows if r["action"] == action and r["subject"] == subject]

    # --- what follows ---

    def test_held_and_released(self):
        serial = "C02POSTURE1"
        access, management = self.mac(serial)
        self.assertEqual(self.rule("filevault", **FILEVAULT, message="Turn on FileVault").status, 201)
        # the device is asked of the server's own accord
        wait_for("the question", lambda: self.posture(serial)["asked_at"])
        self.connect(serial)
        self.assertEqual((self.state(serial), self.verdict(serial, "filevault")), ("passing", "pass"))
        self.report(serial, "filevault=off")
        got = self.posture(serial)
        self.assertEqual(got["state"], "held")
        line = got["rules"][0]
        self.assertEqual((line["verdict"], line["value"], line["source"], line["message"]),
                         ("fail", "false", "reported", "Turn on FileVault"))
        self.assertEqual((self.ocsp(access), self.ocsp(management)), ("revoked", "good"))
        self.assertEqual([c["held_by"] for c in self.certificates(serial)
                          if c["purpose"] == "access"], [["posture"]])
        self.assertEqual(self.api("GET", f"devices/{serial}")["held_by"], ["posture"])
        # a new identity is on hold from its first moment
        self.assign(serial, profile="access")
        self.connect(serial)
        later = self.access(serial)
        self.assertNotEqual(self.identity(serial, "access"), None)
        self.assertEqual(self.ocsp(later), "revoked")
        self.report(serial, "filevault=on")
        self.assertEqual(self.state(serial), "passing")
        self.assertEqual((self.ocsp(later), self.status(serial)), ("good", "good"))
        self.assertEqual(self.api("GET", f"devices/{serial}")["held_by"], [])
        told = self.audit("posture.change", serial)
        self.assertIn("was=passing now=held rules=filevault", [r["detail"] for r in told])
        cause = {r["txn"] for r in told} & {r["txn"] for r in self.audit("device.hold", serial)}
        self.assertEqual(len(cause), 1)
        # questions that the server asks by itself are not an administrator's doing
        self.assertEqual([r for r in self.audit("command.queue", serial)
                          if r["actor"] == "posture"], [])

    def test_confirmed(self):
        """One odd answer holds nobody; a second one does."""
        serial = "C02POSTURE2"
        access, _ = self.mac(serial)
        self.rule("firewall", fact="firewall", value=True, confirm=2)
        self.report(serial, "firewall=off")
        got = self.posture(serial)
        self.assertEqual((got["state"], got["rules"][0]["readings"]), ("failing", 1))
        self.assertEqual(self.ocsp(access), "good")
        # it is asked again without anybody's doing
        wait_for("the second question", lambda: [
            c for c in self.api("GET", f"devices/{serial}/commands")["commands"]
            if c["state"] == "queued" and c["request_type"] == "SecurityInfo"])
        self.connect(serial)
        self.assertEqual((self.state(serial), self.ocsp(access)), ("held", "revoked"))

    def test_revoked_and_restored(self):
        serial = "C02POSTURE3"
        access, _ = self.mac(serial)
        self.rule("filevault", **FILEVAULT, revoke_after=1)
        self.report(serial, "filevault=off")
        self.reach(serial, "revoked")
        record = [c for c in self.certificates(serial) if c["purpose"] == "access"][0]
        self.assertEqual((record["status"], record["reason"]), ("revoked", "privilegeWithdrawn"))
        self.assertEqual(self.status(serial, "management"), "good")
        self.report(serial, "filevault=on")
        self.assertEqual(self.state(serial), "passing")
        # its identities come again of themselves
        wait_for("the new profile", lambda: [
            c for c in self.api("GET", f"devices/{serial}/commands")["commands"]
            if c["state"] == "queued" and c["request_type"] == "InstallProfile"])
        self.connect(serial)
        again = self.access(serial)
        self.assertEqual(self.ocsp(again), "good")
        self.assertEqual([c["status"] for c in self.certificates(serial)
                          if c["purpose"] == "access"], ["good", "revoked"])

    def test_grace_and_exemption(self):
        serial = "C02POSTURE4"
        access, _ = self.mac(serial)
        self.rule("filevault", **FILEVAULT, grace=3600)
        self.report(serial, "filevault=off")
        got = self.posture(serial)
        self.assertEqual((got["state"], self.ocsp(access)), ("failing", "good"))
        self.assertIsNotNone(got["hold_at"])
        self.rule("filevault", **FILEVAULT)
        self.reach(serial, "held")
        got = self.api("PUT", f"devices/{serial}/posture/exemption", {"seconds": 3600})
        self.assertEqual((got["state"], self.ocsp(access)), ("failing", "good"))
        self.assertIsNotNone(got["exempt_until"])
        got = self.api("DELETE", f"devices/{serial}/posture/exemption")
        self.assertEqual((got["state"], self.ocsp(access)), ("held", "revoked"))
        self.api("PUT", f"devices/{serial}/posture/exemption", {"seconds": 1})
        self.reach(serial, "held")  # it ends of itself
        for body in ({}, {"seconds": 0}, {"seconds": "1"}, {"seconds": 31536001}, {"x": 1}):
            self.api("PUT", f"devices/{serial}/posture/exemption", body, status=400)

    def test_report_only(self):
        serial = "C02POSTURE5"
        access, _ = self.mac(serial)
        self.rule("filevault", **FILEVAULT, enforce=False)
        self.report(serial, "filevault=off")
        self.assertEqual((self.state(serial), self.verdict(serial, "filevault")), ("passing", "fail"))
        self.assertEqual(self.ocsp(access), "good")
        self.assertIn(serial, self.api("GET", "posture/rules/filevault/devices")["devices"])

    def test_administrator_holds_too(self):
        serial = "C02POSTURE6"
        access, _ = self.mac(serial)
        self.rule("filevault", **FILEVAULT)
        self.report(serial, "filevault=off")
        self.assertEqual(self.state(serial), "held")
        number = [c["serial"] for c in self.certificates(serial) if c["purpose"] == "access"][0]
        got = self.api("POST", f"certificates/{number}/release", status=409)
        self.assertEqual(got["reason"], "held-by-another")
        self.api("POST", f"devices/{serial}/hold")
        self.report(serial, "filevault=on")
        self.assertEqual((self.state(serial), self.ocsp(access)), ("passing", "revoked"))
        self.assertEqual(self.api("GET", f"devices/{serial}")["held_by"], ["administrator"])
        self.api("POST", f"devices/{serial}/release")
        self.assertEqual(self.ocsp(access), "good")

    def test_rule_goes(self):
        serial = "C02POSTURE7"
        access, _ = self.mac(serial)
        self.rule("filevault", **FILEVAULT)
        self.report(serial, "filevault=off")
        self.assertEqual(self.state(serial), "held")
        self.api("DELETE", "posture/rules/filevault", status=204)
        self.reach(serial, "passing")
        self.assertEqual(self.ocsp(access), "good")

    def test_groups(self):
        serial = "C02POSTURE8"
        access, _ = self.mac(serial)
        self.rule("lab", **FILEVAULT, groups=["lab"])
        self.report(serial, "filevault=off")
        self.assertEqual((self.state(serial), self.verdict(serial, "lab")), ("passing", None))
        self.server.put_device(serial, model="MacBook Pro", groups=["lab"])
        self.reach(serial, "held")
        self.server.put_device(serial, model="MacBook Pro", groups=[])
        self.reach(serial, "passing")
        self.assertEqual(self.ocsp(access), "good")

    def test_a_phone_is_not_asked_for_a_macs_fact(self):
        serial = "PHPOSTURE1"
        self.enrol(serial)
        self.rule("filevault", **FILEVAULT, unknown="fail")
        self.rule("passcode", fact="passcode_present", value=True, confirm=1)
        self.report(serial, "passcode=off")
        self.assertEqual([r["rule"] for r in self.posture(serial)["rules"]], ["passcode"])
        self.assertEqual(self.state(serial), "held")

    # --- whom it believes ---

    def test_attested(self):
        """A Mac whose system lies: the rule that hears the hardware alone is not deceived."""
        serial = "C02POSTURE9"
        self.enrol(serial, model="MacBook Pro")
        self.rule("sip-said", fact="sip", value=True, confirm=1)
        self.rule("sip-proved", fact="sip", value=True, attested=True)
        self.report(serial, "sip=off,lie=on")
        self.assertEqual(self.state(serial), "passing")  # attested at enrolment, when it was on
        self.assign(serial, profile="access")
        self.connect(serial)  # the order attests
        self.report(serial)
        self.assertEqual(self.verdict(serial, "sip-proved"), "fail")
        self.assertEqual(self.state(serial), "held")
        self.assertEqual(self.ocsp(self.access(serial)), "revoked")  # from its first moment
        # the order that brings better news is not refused for the old ones
        self.connect(serial, "--posture", "sip=on,lie=off")
        self.assign(serial, profile="access")
        self.connect(serial)
        self.assertEqual((self.state(serial), self.ocsp(self.access(serial))), ("passing", "good"))

    def test_attested_anew(self):
        """Where a rule wants proofs, they are asked for when the last one is old."""
        serial = "C02POSTUREE"
        self.enrol(serial, model="MacBook Pro")
        self.rule("sip", fact="sip", value=True, attested=True)
        self.report(serial, "sip=off,lie=on")
        self.assertEqual(self.state(serial), "passing")  # the proof of the enrolment is fresh
        self.age_proofs(serial)
        self.report(serial)
        self.reach(serial, "held")
        self.assertEqual(self.attempts(serial)[0], ("accepted", ""))
        # once in so many days: the next one is not asked for yet
        self.report(serial, "sip=on,lie=off")
        self.assertEqual(self.state(serial), "held")
        self.age_proofs(serial)
        self.report(serial)
        self.reach(serial, "passing")

    def test_proof_that_is_none(self):
        """An attestation that answers another question: refused, with the reason."""
        serial = "C02POSTUREF"
        self.enrol(serial, model="MacBook Pro")
        self.rule("sip", fact="sip", value=True, attested=True)
        self.report(serial)
        self.age_proofs(serial)
        self.api("POST", f"devices/{serial}/posture/refresh")
        self.server.database().execute(
            "UPDATE posture_nonces SET nonce = (SELECT hash FROM client_ids LIMIT 1)")
        self.connect(serial)
        wait_for("the refusal", lambda: self.attempts(serial))
        self.assertEqual(self.attempts(serial)[0], ("refused", "freshness-mismatch"))
        self.assertEqual(self.state(serial), "passing")

    def attempts(self, serial):
        return [(a["outcome"], a["reason"]) for a in self.server.attempts(serial)
                if a["source"] == "posture"]

    def age_proofs(self, serial):
        """As if what is attested were eight days old."""
        row = self.server.database().execute(
            "SELECT facts FROM posture_facts WHERE serial = ? AND source = 0", (serial,)).fetchone()
        facts = {k: [v, at - 8 * 86400, since] for k, (v, at, since) in json.loads(row[0]).items()}
        self.server.database().execute(
            "UPDATE posture_facts SET facts = ? WHERE serial = ? AND source = 0",
            (json.dumps(facts), serial))

    def test_external(self):
        serial = "C02POSTUREA"
        access, _ = self.mac(serial)
        token = self.api("POST", "tokens", {"name": "edr", "scopes": "facts:write"}, 201)["token"]
        self.rule("edr", fact="external.edr", value=True, unknown="fail", grace=3600)
        self.reach(serial, "failing")  # nobody says it
        set_fact = lambda value, **more: self.api("PUT", f"devices/{serial}/facts/external.edr",
                                                  {"value": value}, token=token, **more)
        set_fact(True, status=204)
        self.assertEqual(self.state(serial), "passing")
        self.rule("edr", fact="external.edr", value=True)
        set_fact(False, status=204)
        self.assertEqual((self.state(serial), self.ocsp(access)), ("held", "revoked"))
        set_fact(True, status=204)
        self.assertEqual((self.state(serial), self.ocsp(access)), ("passing", "good"))
        self.assertEqual(len(self.audit("posture.fact", serial)), 3)
        self.api("GET", f"devices/{serial}/posture", token=token, status=403)
        self.api("PUT", "posture/rules/x", FILEVAULT, token=token, status=403)
        for value in (1, "true", None):
            set_fact(value, status=400)
        for name in ("filevault", "external.", "external.A", "external." + "x" * 41):
            self.api("PUT", f"devices/{serial}/facts/{name}", {"value": True}, status=400)
        self.api("PUT", "devices/NOBODY/facts/external.edr", {"value": True}, status=404)
        for i in range(31):
            self.api("PUT", f"devices/{serial}/facts/external.x{i}", {"value": True}, status=204)
        got = self.api("PUT", f"devices/{serial}/facts/external.y", {"value": True}, status=413)
        self.assertEqual(got["reason"], "too-many-facts")
        self.api("DELETE", f"devices/{serial}/facts/external.edr", status=204)
        self.api("DELETE", f"devices/{serial}/facts/external.edr", status=404)

    def test_enrolled(self):
        """A device that took its management away."""
        serial = "C02POSTUREB"
        access, _ = self.mac(serial)
        self.rule("managed", fact="enrolled", value=True)
        wait_for("the judgement", lambda: self.verdict(serial, "managed") == "pass")
        got = self.server.request(
            self.server.device, "PUT", "/mdm/checkin",
            plistlib.dumps({"MessageType": "CheckOut", "UDID": self.server.udid(serial),
                            "Topic": "com.apple.mgmt.External.testudo"}),
            {"Content-Type": "application/x-apple-aspen-mdm-checkin"},
            self.server.tls(self.server.identity(serial)))
        self.assertEqual(got.status, 200, got)
        self.assertEqual((self.state(serial), self.ocsp(access)), ("held", "revoked"))

    def test_it_leaves(self):
        serial = "C02POSTUREC"
        self.mac(serial)
        self.rule("filevault", **FILEVAULT)
        self.report(serial, "filevault=off")
        self.api("DELETE", f"inventory/devices/{serial}", status=204)
        self.api("GET", f"devices/{serial}/posture", status=404)
        for table in ("devices", "facts", "verdicts"):
            left = self.server.database().execute(
                f"SELECT count(*) FROM posture_{table} WHERE serial = ?", (serial,)).fetchone()
            self.assertEqual(left[0], 0, table)

    # --- the API ---

    def test_rules(self):
        self.assertEqual(self.rules(), [])
        made = self.rule("os", fact="os_version", op=">=", value="14", platforms=["macos"])
        self.assertEqual((made.status, made.headers["ETag"]), (201, '"1"'))
        self.assertEqual((made.json["value"], made.json["unknown"], made.json["enforce"]),
                         ("14.0", "ignore", True))
        one = "/api/v1/posture/rules/os"
        put = lambda match, **more: self.server.api(
            "PUT", one, {"fact": "os_version", "op": ">=", "value": "15"},
            headers={"If-Match": match, **more})
        self.assertEqual([put(m).status for m in ('"7"', '"1"', '"1"', "*", "x")],
                         [412, 200, 412, 200, 400])
        got = self.server.api("PUT", one, FILEVAULT, headers={"If-None-Match": "*"})
        self.assertEqual(got.status, 412)
        self.assertEqual(self.api("GET", "posture/rules/os")["rev"], 3)
        self.assertEqual(self.server.api("DELETE", one, headers={"If-Match": '"1"'}).status, 412)
        self.api("DELETE", "posture/rules/os", status=204)
        for method in ("GET", "DELETE"):
            self.api(method, "posture/rules/os", status=404)
        self.assertEqual(self.server.api("PUT", one, FILEVAULT, headers={"If-Match": "*"}).status, 412)
        self.api("GET", "posture/rules/os/devices", status=404)
        for body in ({}, {"fact": "nothing", "value": True}, {"fact": "filevault"},
                     {"fact": "filevault", "value": "yes"}, {"fact": "os_version", "value": "x"},
                     {**FILEVAULT, "op": ">="}, {**FILEVAULT, "grace": -1},
                     {**FILEVAULT, "grace": 31536001}, {**FILEVAULT, "confirm": 11},
                     {**FILEVAULT, "attested": True}, {**FILEVAULT, "platforms": ["ios"]},
                     {**FILEVAULT, "more": 1}, {**FILEVAULT, "message": "x" * 257}):
            got = self.server.api("PUT", one, body)
            self.assertEqual(got.status, 400, (body, got))
        self.assertEqual(self.server.api("PUT", "/api/v1/posture/rules/Os", FILEVAULT).status, 400)
        self.assertEqual(self.server.api("PUT", one, FILEVAULT, token="").status, 401)

    def test_rule_limit(self):
        for i in range(100):
            self.assertEqual(self.rule(f"r{i}", **FILEVAULT).status, 201)
        got = self.rule("one-more", **FILEVAULT)
        self.assertEqual((got.status, got.json["reason"]), (413, "too-many-rules"))
        self.assertEqual(self.rule("r7", **FILEVAULT).status, 200)

    def test_lists(self):
        facts = {f["name"]: f for f in self.api("GET", "posture/facts")["facts"]}
        self.assertEqual((facts["sip"]["kind"], facts["sip"]["sources"]),
                         ("boolean", ["attested", "reported"]))
        self.assertEqual(facts["enrolled"]["sources"], ["observed"])
        serial = "C02POSTURED"
        self.mac(serial)
        self.rule("filevault", **FILEVAULT)
        self.report(serial, "filevault=off")
        listed = self.api("GET", "posture/devices?state=held")["devices"]
        self.assertIn(serial, [d["serial"] for d in listed])
        seen, cursor = [], ""
        while cursor is not None:
            page = self.api("GET", "posture/devices?limit=1" + (f"&cursor={cursor}" if cursor else ""))
            seen += [d["serial"] for d in page["devices"]]
            cursor = page["next_cursor"]
        self.assertEqual(seen, sorted(set(seen)))
        self.assertIn(serial, seen)
        self.api("GET", "posture/devices?state=odd", status=400)
        self.api("GET", "devices/NOBODY/posture", status=404)
        self.api("POST", "devices/NOBODY/posture/refresh", status=404)
        self.server.put_device("LISTED1")
        self.api("POST", "devices/LISTED1/posture/refresh", status=409)
        self.assertEqual(self.state("LISTED1"), "passing")


if __name__ == "__main__":
    unittest.main()
