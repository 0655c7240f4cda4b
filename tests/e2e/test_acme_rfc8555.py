"""RFC 8555 and 9773 beside Apple's path: accounts that live on, every algorithm, key change,
revocation, external account binding, renewal information, rate limits."""
import base64
import calendar
import hashlib
import hmac
import json
import os
import plistlib
import re
import signal
import time
import unittest

from test_acme import ALGS, Base, Client, SERIAL, check_problem, jws, jws_signature, openssl, public_jwk
from test_profiles import write_profiles
from testudo import Server, b64url, program, run, wait_for


def bound(secret, kid, url, jwk, alg="HS256"):
    """An external account binding (RFC 8555 section 7.3.4)."""
    prot = b64url(json.dumps({"alg": alg, "kid": kid, "url": url}).encode())
    body = b64url(json.dumps(jwk).encode())
    key = base64.urlsafe_b64decode(secret + "==")
    mac = hmac.new(key, f"{prot}.{body}".encode(), hashlib.sha256).digest()
    return {"protected": prot, "payload": body, "signature": b64url(mac)}


def certid(der):
    """The ARI identifier (RFC 9773 section 4.1), of what openssl reads."""
    text = openssl("x509", "-inform", "DER", "-noout", "-serial", "-ext", "authorityKeyIdentifier",
                   data=der).decode()
    serial = text.split("serial=")[1].split()[0]
    aki = text.split("Key Identifier:")[1].split()[0].replace("keyid:", "").replace(":", "")
    number = bytes.fromhex(serial)
    if number[0] & 0x80:
        number = b"\0" + number
    return f"{b64url(bytes.fromhex(aki))}.{b64url(number)}"


class Rfc8555(Base):
    settings = {"acme__device_orders": 0, "acme__account_orders": 0, "acme__device_failures": 0}

    def test_every_algorithm_issues(self):
        for alg in ALGS:
            with self.subTest(alg):
                c, order, _, der = self.issued(client=self.client(alg=alg))
                self.assertEqual(order["status"], "valid")
                got = c.post(c.urls["revokeCert"], {"certificate": b64url(der), "reason": 4})
                self.assertEqual((got.status, got.body), (200, b""), got)

    def change_key(self, c, alg, **twist):
        """keyChange to a fresh key of that algorithm; the answer, and the key's file."""
        new, url = c.new_key("next-" + alg, alg=alg), c.urls["keyChange"]
        head = {"alg": alg, "jwk": public_jwk(new, alg), "url": url, **twist.pop("head", {})}
        payload = {"account": c.kid, "oldKey": c.jwk(), **twist}
        return c.post(url, jws(new, alg, head, payload)), new

    def test_key_change_between_all_algorithms(self):
        c = self.client()
        for alg in ("ES384", "RS256", "EdDSA", "ES256", "RS256", "ES384", "EdDSA", "RS256", "ES256",
                    "EdDSA", "ES384", "ES256", "ES256"):
            with self.subTest(f"{c.alg} to {alg}"):
                got, new = self.change_key(c, alg)
                self.assertEqual((got.status, got.headers["Location"]), (200, c.kid), got)
                check_problem(c.post(c.kid), None, None)  # the old key
                self.assertGreaterEqual(c.post(c.kid).status, 400)
                os.replace(new, c.key)
                c.alg = alg
                self.assertEqual(c.post(c.kid).json["status"], "valid")
        self.issued(client=c)  # and it still gets certificates

    def test_key_change_faults(self):
        c, other = self.client(), self.client()
        for reason, twist in (("inner-url", {"head": {"url": c.kid}}),
                              ("inner-account", {"account": other.kid}),
                              ("inner-old-key", {"oldKey": other.jwk()}),
                              ("jws-malformed", {"head": {"nonce": "AAAAAAAAAAAAAAAAAAAAAA"}})):
            got, _ = self.change_key(c, "ES256", **twist)
            check_problem(got, 400, "malformed", reason)
        url = c.urls["keyChange"]
        inner = jws(other.key, "ES256", {"alg": "ES256", "jwk": other.jwk(), "url": url},
                    {"account": c.kid, "oldKey": c.jwk()})
        got = c.post(url, inner)
        check_problem(got, 409, "malformed", "key-in-use")
        self.assertEqual(got.headers["Location"], other.kid)
        inner["signature"] = b64url(b"\1" * 64)
        check_problem(c.post(url, inner), 400, "malformed", "inner-signature")
        self.assertEqual(c.post(c.kid).json["status"], "valid")

    def test_contacts(self):
        c = Client(self.server, self.tmp)
        got = c.account(contact=["mailto:ca@example.test"])
        self.assertEqual(got.json["contact"], ["mailto:ca@example.test"])
        got = c.post(c.kid, {"contact": ["mailto:a@example.test", "mailto:b@example.test"]})
        self.assertEqual(len(got.json["contact"]), 2)
        check_problem(c.post(c.kid, {"contact": ["https://example.test"]}), 400,
                      "unsupportedContact")
        check_problem(c.post(c.kid, {"contact": ["mailto:nobody"]}), 400, "invalidContact")
        self.assertEqual(len(c.post(c.kid).json["contact"]), 2)
        self.assertEqual(c.post(c.kid, {"status": "deactivated"}).json["status"], "deactivated")
        check_problem(c.post(c.kid), 403, "unauthorized", "account-deactivated")

    # --- revocation ---

    def ocsp(self, der):
        with open(os.path.join(self.tmp, "leaf.pem"), "wb") as f:
            f.write(openssl("x509", "-inform", "DER", data=der))
        with open(os.path.join(self.tmp, "issuing.pem"), "wb") as f:
            f.write(openssl("x509", "-inform", "DER", data=self.server.get(
                self.server.status, "/ca/issuing.crt").body))
        done = run("openssl", "ocsp", "-issuer", os.path.join(self.tmp, "issuing.pem"), "-cert",
                   os.path.join(self.tmp, "leaf.pem"), "-url", self.server.status + "/ocsp",
                   "-CAfile", self.server.root, "-no_nonce")
        return done.stdout

    def test_revocation_by_account(self):
        c, _, _, der = self.issued()
        stranger, url = self.client(), c.urls["revokeCert"]
        check_problem(stranger.post(url, {"certificate": b64url(der)}), 403, "unauthorized",
                      "revocation-foreign")
        self.assertEqual(self.server.attempts(SERIAL)[0]["reason"], "revocation-foreign")
        for reason in (2, 6, 7, 8, 9, 10, 11, -1):
            check_problem(c.post(url, {"certificate": b64url(der), "reason": reason}), 400,
                          "badRevocationReason")
        self.assertIn(": good", self.ocsp(der))
        self.assertEqual(c.post(url, {"certificate": b64url(der), "reason": 1}).status, 200)
        said = self.ocsp(der)
        self.assertIn(": revoked", said)
        self.assertIn("Reason: keyCompromise", said)
        check_problem(c.post(url, {"certificate": b64url(der), "reason": 1}), 400, "alreadyRevoked")
        self.assertEqual(c.post(url, {"certificate": "AAAA"}).status, 400)
        foreign = openssl("x509", "-in", self.server.root, "-outform", "DER")
        check_problem(c.post(url, {"certificate": b64url(foreign)}), 404, "malformed",
                      "certificate-unknown")

    def test_revocation_by_certificate_key(self):
        c, _, key, der = self.issued()
        url, stranger = c.urls["revokeCert"], Client(self.server, self.tmp)
        stranger.nonce = stranger.fresh_nonce()
        check_problem(stranger.post(url, {"certificate": b64url(der)}), 403, "unauthorized",
                      "revocation-foreign")
        head = {"alg": "ES384", "jwk": public_jwk(key, "ES384"), "nonce": stranger.nonce, "url": url}
        got = stranger.send(url, json.dumps(jws(key, "ES384", head, {"certificate": b64url(der)})))
        self.assertEqual((got.status, got.body), (200, b""), got)
        self.assertIn(": revoked", self.ocsp(der))

    def test_revocation_by_authorization(self):
        """Another account of the same device, which attested within the hour."""
        _, _, _, der = self.issued()
        second, _, _, _ = self.issued()
        got = second.post(second.urls["revokeCert"], {"certificate": b64url(der)})
        self.assertEqual(got.status, 200, got)
        self.server.put_device("RFCOTHER01")
        third, _, _, _ = self.issued("RFCOTHER01")
        _, _, _, der = self.issued()
        check_problem(third.post(third.urls["revokeCert"], {"certificate": b64url(der)}), 403)

    # --- renewal information ---

    def test_renewal_information(self):
        c, _, _, der = self.issued()
        base = c.urls["renewalInfo"][len(self.server.public):]
        got = self.server.get(self.server.public, f"{base}/{certid(der)}")
        self.assertEqual(got.status, 200, got)
        self.assertGreater(int(got.headers["Retry-After"]), 0)
        window = got.json["suggestedWindow"]
        self.assertLess(window["start"], window["end"])
        now = self.server.get(self.server.public, "/acme/management/directory").headers["Date"]
        self.assertTrue(now)
        self.assertGreater(window["start"], "2020")
        for bad in ("AAAA.AAAA", "x", certid(der)[1:], certid(der) + "A"):
            check_problem(self.server.get(self.server.public, f"{base}/{bad}"), 404, "malformed")
        # a second order replaces it, a third does not
        old = certid(der)
        self.assertEqual(c.order(self.identifier(), replaces=old).json["replaces"], old)
        check_problem(c.order(self.identifier(), replaces=old), 409, "alreadyReplaced")
        check_problem(c.order(self.identifier(), replaces="AAAA.AAAA"), 400, "malformed",
                      "replaces-unknown")
        self.server.put_device("RFCOTHER02")
        check_problem(c.order(self.identifier("RFCOTHER02"), replaces=old), 403, "unauthorized",
                      "replaces-foreign")
        c.post(c.urls["revokeCert"], {"certificate": b64url(der)})
        past = self.server.get(self.server.public, f"{base}/{certid(der)}").json["suggestedWindow"]
        self.assertLess(past["end"], window["start"])
        self.assertLess(past["start"], past["end"])

    def number(self, der):
        text = openssl("x509", "-inform", "DER", "-noout", "-serial", data=der).decode()
        return text.strip().partition("=")[2].lower()

    def check_window(self, der):
        """What RFC 9773 section 4.2 and 4.3 ask of an answer; the window in seconds."""
        base = self.server.get(self.server.public, "/acme/management/directory").json["renewalInfo"]
        got = self.server.get(self.server.public,
                              f"{base[len(self.server.public):]}/{certid(der)}")
        self.assertEqual((got.status, got.headers["Content-Type"]), (200, "application/json"), got)
        self.assertRegex(got.headers["Retry-After"], r"^[1-9][0-9]*$")
        self.assertLessEqual(int(got.headers["Retry-After"]), 86400)
        self.assertIsNone(got.headers["Replay-Nonce"])
        window = got.json["suggestedWindow"]
        self.assertEqual(set(window), {"start", "end"})
        start, end = (calendar.timegm(time.strptime(window[k], "%Y-%m-%dT%H:%M:%SZ"))
                      for k in ("start", "end"))
        self.assertLess(start, end)
        return start, end

    def test_window(self):
        """Inside the validity while the certificate is good or on hold, past once it is revoked."""
        c, _, _, der = self.issued()
        begin, over = (calendar.timegm(time.strptime(line.split("=")[1], "%b %d %H:%M:%S %Y GMT"))
                       for line in openssl("x509", "-inform", "DER", "-noout", "-dates",
                                           data=der).decode().splitlines())
        good = self.check_window(der)
        self.assertTrue(begin < good[0] and good[1] < over, (begin, good, over))
        self.assertAlmostEqual((good[0] - begin) / (over - begin), 0.66, delta=0.01)
        held = self.server.api("POST", f"/api/v1/certificates/{self.number(der)}/hold", {})
        self.assertIn(held.status, (200, 204), held)
        self.assertEqual(self.check_window(der), good)
        got = c.post(c.urls["revokeCert"], {"certificate": b64url(der)})
        self.assertEqual(got.status, 200, got)
        self.assertLess(self.check_window(der)[1], time.time())

    def test_replaced_management_identity(self):
        """Retired at the first use of its successor, as in a renewal of ours."""
        serial = "RFCREPL001"
        self.server.put_device(serial)
        c, _, key, der = self.issued(serial)
        self.enrol(c, key, der, "first", serial)
        got = c.order(self.identifier(serial), replaces=certid(der))
        self.assertEqual(got.status, 201, got)
        authz = c.post(got.json["authorizations"][0]).json
        second, obj = self.attestation(c, authz["challenges"][0]["token"], serial)
        self.assertEqual(c.post(authz["challenges"][0]["url"],
                                {"attObj": b64url(obj)}).json["status"], "valid")
        done = c.post(got.json["finalize"], self.csr(second))
        self.assertEqual(done.json["status"], "valid", done)
        pem = c.post(done.json["certificate"]).body
        number = self.number(der)
        self.assertEqual([x["status"] for x in self.server.certificates(serial)],
                         ["good", "good"])  # nothing was used yet
        before = self.server.api("GET", f"/api/v1/devices/{serial}").json["enrollment"]
        self.assertEqual(self.idle(self.pem(c, second, pem, "second")).status, 200)
        certs = {x["serial"]: x for x in self.server.certificates(serial)}
        self.assertEqual((certs[number]["status"], certs[number]["reason"]),
                         ("revoked", "superseded"))
        self.assertEqual({x["status"] for n, x in certs.items() if n != number}, {"good"})
        after = self.server.api("GET", f"/api/v1/devices/{serial}").json["enrollment"]
        self.assertEqual((after["state"], after["udid"], after["enrolled_at"]),
                         ("enrolled", before["udid"], before["enrolled_at"]))
        # the old one is over, and was replaced
        self.assertEqual(self.idle(c.path("first.pem")).status, 403)
        check_problem(c.order(self.identifier(serial), replaces=certid(der)), 409, "alreadyReplaced",
                      "already-replaced")
        # nobody else replaces the new one
        new = openssl("x509", "-outform", "DER", data=pem)
        check_problem(self.client().order(self.identifier(serial), replaces=certid(new)), 403,
                      "unauthorized", "replaces-foreign")

    UDID = "00008120-00RFCREPL0001"

    def pem(self, c, key, cert, name):
        """Certificate and key in one file."""
        path = c.path(name + ".pem")
        with open(key, "rb") as f, open(path, "wb") as out:
            out.write(cert + b"\n" + f.read())
        return path

    def put(self, path, pem, message, kind):
        return self.server.request(self.server.device, "PUT", path, plistlib.dumps(message),
                                   {"Content-Type": kind}, self.server.tls(pem))

    def idle(self, pem):
        return self.put("/mdm/connect", pem, {"Status": "Idle", "UDID": self.UDID},
                        "application/x-apple-aspen-mdm")

    def enrol(self, c, key, der, name, serial):
        pem = self.pem(c, key, openssl("x509", "-inform", "DER", data=der), name)
        topic = "com.apple.mgmt.External.testudo"
        for message in ({"MessageType": "Authenticate", "SerialNumber": serial},
                        {"MessageType": "TokenUpdate", "PushMagic": "m", "Token": b"\1" * 32}):
            got = self.put("/mdm/checkin", pem, {"UDID": self.UDID, "Topic": topic, **message},
                           "application/x-apple-aspen-mdm-checkin")
            self.assertEqual(got.status, 200, got)

    # --- orders ---

    def test_hardware_module_of_no_profile(self):
        """Who orders one gets a certificate that names it, or none."""
        value = self.identifier() + "/1.3.6.1.4.1.99999.7"
        check_problem(self.client().order(value, "hardware-module"), 400, "rejectedIdentifier",
                      "hardware-type")

    def test_order_list_in_pages(self):
        c = self.client()
        made = [c.order(self.identifier()).headers["Location"] for _ in range(52)]
        url, seen, pages = c.kid + "/orders", [], 0
        while url:
            got = c.post(url)
            seen += got.json["orders"]
            pages += 1
            url = next((x[1:].partition(">")[0] for x in got.headers.get_all("Link")
                        if 'rel="next"' in x), None)
        self.assertEqual((sorted(seen), pages), (sorted(made), 2))

    def test_subproblems(self):
        c = self.client()
        got = c.post(c.urls["newOrder"], {"identifiers": [
            {"type": "permanent-identifier", "value": "a"}, {"type": "dns", "value": "b.example"}]})
        check_problem(got, 400, "rejectedIdentifier", "identifier-count")
        part, = got.json["subproblems"]
        self.assertTrue(part["type"].endswith(":unsupportedIdentifier"))
        self.assertEqual(part["identifier"], {"type": "dns", "value": "b.example"})

    # --- external account binding ---

    def eab(self, **members):
        got = self.server.api("POST", "/api/v1/eab-keys", members)
        self.assertEqual(got.status, 201, got)
        self.assertEqual(got.headers["Cache-Control"], "no-store")
        return got.json

    def test_external_account_binding(self):
        key, c = self.eab(name="lab"), Client(self.server, self.tmp)
        url = c.urls["newAccount"]
        self.assertEqual((key["account"], key["profile"], key["revoked_at"]), (None, None, None))
        wrong = bound(b64url(b"\0" * 32), key["id"], url, c.jwk())
        check_problem(c.post(url, {"externalAccountBinding": wrong}), 403, "unauthorized", "eab-mac")
        right = bound(key["hmac_key"], key["id"], url, c.jwk())
        got = c.post(url, {"externalAccountBinding": right})
        self.assertEqual(got.status, 201, got)
        c.kid = got.headers["Location"]
        other = Client(self.server, self.tmp)
        again = bound(key["hmac_key"], key["id"], url, other.jwk())
        check_problem(other.post(url, {"externalAccountBinding": again}), 403, "unauthorized",
                      "eab-used")
        row, = [k for k in self.server.api("GET", "/api/v1/eab-keys").json["eab_keys"]
                if k["id"] == key["id"]]
        self.assertNotIn("hmac_key", row)
        self.assertTrue(c.kid.endswith("/" + row["account"]), row)
        self.assertEqual(self.server.api("DELETE", f"/api/v1/eab-keys/{key['id']}").status, 204)
        check_problem(c.post(c.kid), 403, "unauthorized", "account-deactivated")
        self.assertEqual(self.server.api("DELETE", f"/api/v1/eab-keys/{key['id']}").status, 204)

    def test_eab_api(self):
        api = self.server.api
        for body in ({"ttl": 59}, {"ttl": 31536001}, {"ttl": "1d"}, {"name": 1}, {"nam": "x"},
                     {"name": "x" * 201}, {"profile": "x" * 65}):
            self.assertEqual(api("POST", "/api/v1/eab-keys", body).status, 400, body)
        for ttl in (60, 31536000):
            self.eab(ttl=ttl)
        self.assertEqual(api("POST", "/api/v1/eab-keys", {}, token="").status, 401)
        weak = api("POST", "/api/v1/tokens", {"name": "x", "scopes": "devices:read"}).json["token"]
        strong = api("POST", "/api/v1/tokens", {"name": "x", "scopes": "eab"}).json["token"]
        for method, path in (("POST", ""), ("GET", ""), ("DELETE", "/AAAAAAAAAAAAAAAAAAAAAA")):
            body = {} if method == "POST" else None
            self.assertEqual(api(method, "/api/v1/eab-keys" + path, body, token=weak).status, 403)
            self.assertIn(api(method, "/api/v1/eab-keys" + path, body, token=strong).status,
                          (200, 201, 404))
        page = api("GET", "/api/v1/eab-keys?limit=1").json
        self.assertEqual(len(page["eab_keys"]), 1)
        self.assertTrue(page["next_cursor"])
        actions = [row["action"] for row in api("GET", "/api/v1/audit").json["audit"]]
        self.assertIn("eab.create", actions)

    def test_post_as_get_everywhere(self):
        c, order, _, _ = self.issued()
        authz = order["authorizations"][0]
        challenge = c.post(authz).json["challenges"][0]["url"]
        for url in (c.kid, c.kid + "/orders", order["url"], authz, challenge, order["certificate"],
                    self.server.public + "/acme/management/directory"):
            got = c.post(url)
            self.assertEqual(got.status, 200, url)
        self.assertIn(f'<{authz}>;rel="up"', c.post(challenge).headers.get_all("Link"))
        got = self.server.request(self.server.public, "POST", "/acme/new-authz", "{}")
        self.assertEqual(got.status, 404)
        self.assertNotIn("newAuthz", c.urls)

    def test_signature_of_every_kind_is_checked(self):
        """The same bytes with one bit changed, for each algorithm."""
        for alg in ALGS:
            c = self.client(alg=alg)
            body = c.signed(c.kid, None)
            sig = bytearray(base64.urlsafe_b64decode(body["signature"] + "=="))
            sig[-1] ^= 1
            body["signature"] = b64url(bytes(sig))
            check_problem(c.send(c.kid, json.dumps(body)), 403, "unauthorized", "signature-bad")
            self.assertTrue(jws_signature(c.key, alg, b"x"))


class Limits(Base):
    settings = {"acme__device_orders": 3, "acme__account_orders": 5, "acme__device_failures": 1,
                "acme__terms_of_service": "https://example.test/terms",
                "acme__website": "https://example.test/"}

    def test_orders_of_a_device(self):
        self.server.put_device("LIMITED001")
        for _ in range(3):
            self.assertEqual(self.client().order(self.identifier("LIMITED001")).status, 201)
        got = self.client().order(self.identifier("LIMITED001"))
        check_problem(got, 429, "rateLimited", "limit-device-orders")
        self.assertTrue(3500 < int(got.headers["Retry-After"]) <= 3600, got.headers)
        self.assertEqual(self.server.attempts("LIMITED001")[0]["reason"], "limit-device-orders")
        self.assertEqual(self.client().order(self.identifier()).status, 201)

    def test_orders_of_an_account(self):
        c = self.client()
        for i in range(6):
            serial = f"LIMITED10{i}"
            self.server.put_device(serial)
            got = c.order(self.identifier(serial))
            if i < 5:
                self.assertEqual(got.status, 201, got)
        check_problem(got, 429, "rateLimited", "limit-account-orders")

    def test_failures_of_a_device(self):
        serial = "LIMITED002"
        self.server.put_device(serial)
        c, _, challenge = self.pending(serial)
        self.assertEqual(c.post(challenge["url"], {}).json["status"], "invalid")
        got = c.order(self.identifier(serial))
        check_problem(got, 429, "rateLimited", "limit-device-failures")

    def test_terms(self):
        c = Client(self.server, self.tmp)
        self.assertEqual(c.urls["meta"], {
            "termsOfService": "https://example.test/terms", "website": "https://example.test/",
            "externalAccountRequired": False})
        got = c.post(c.urls["newAccount"], {})
        check_problem(got, 403, "userActionRequired", "terms-not-agreed")
        self.assertEqual(got.json["instance"], "https://example.test/terms")
        self.assertIn('<https://example.test/terms>;rel="terms-of-service"',
                      got.headers.get_all("Link"))
        self.assertEqual(c.account().status, 201)


class Bound(Base):
    """A certificate profile whose policy asks for an external account binding."""

    def test_a_profile_asks_for_it(self):
        path = "/api/v1/profiles/management/policy"
        got = self.server.api("PUT", path, {"eab_required": True})
        self.assertEqual(got.status, 200, got)
        free = Client(self.server, self.tmp)
        url = self.server.public + "/acme/management/new-account"
        self.assertEqual(free.urls["newAccount"], url)
        self.assertTrue(free.urls["meta"]["externalAccountRequired"])
        check_problem(free.post(url, {"termsOfServiceAgreed": True}), 403,
                      "externalAccountRequired", "eab-required")
        free.urls["newAccount"] = self.server.public + "/acme/new-account"
        self.assertEqual(free.account().status, 201)  # the common door is of no profile
        check_problem(free.order(self.identifier()), 403, "externalAccountRequired", "eab-required")
        wrong = self.server.api("POST", "/api/v1/eab-keys", {"profile": "other"}).json
        check_problem(free.post(url, {"externalAccountBinding": bound(
            wrong["hmac_key"], wrong["id"], url, free.jwk())}, kid=None, jwk=free.jwk()), 403,
            "unauthorized", "eab-profile")
        key = self.server.api("POST", "/api/v1/eab-keys", {"profile": "management"}).json
        c = Client(self.server, self.tmp)
        got = c.post(url, {"externalAccountBinding": bound(key["hmac_key"], key["id"], url, c.jwk())})
        self.assertEqual(got.status, 201, got)
        c.kid = got.headers["Location"]
        self.issued(client=c)


class HardwareModule(Base):
    """RFC 4108 names in certificates of a profile that says so."""
    OID = "1.3.6.1.4.1.32473.7"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.stop()
        write_profiles(cls.server, {"management": "[profile]\npurpose = management\n[san]\n"
                                                  f"hardware_module = {cls.OID}\n"})
        cls.server.start()

    def ordered(self, oid=OID):
        c = self.client()
        value = f"{self.identifier()}/{oid}"
        return c, value, c.order(value, "hardware-module")

    def finalized(self, c, got):
        authz = c.post(got.json["authorizations"][0]).json
        key, obj = self.attestation(c, authz["challenges"][0]["token"])
        done = c.post(authz["challenges"][0]["url"], {"attObj": b64url(obj)})
        self.assertEqual(done.json["status"], "valid", done)
        return authz, c.post(got.json["finalize"], self.csr(key))

    def test_certificate(self):
        c, value, got = self.ordered()
        self.assertEqual(got.status, 201, got)
        self.assertEqual(got.json["identifiers"], [{"type": "hardware-module", "value": value}])
        authz, done = self.finalized(c, got)
        self.assertEqual(authz["identifier"], {"type": "hardware-module", "value": value})
        self.assertEqual(done.json["status"], "valid", done)
        pem = c.post(done.json["certificate"]).body
        text = openssl("x509", "-noout", "-text", data=pem).decode()
        self.assertIn("othername: 1.3.6.1.5.5.7.8.4:", text)
        # asn1parse: the extension's OCTET STRING, then what is in it
        parsed = openssl("asn1parse", data=pem).decode()
        at = re.search(r"X509v3 Subject Alternative Name\n +(\d+):.*OCTET STRING", parsed).group(1)
        inner = openssl("asn1parse", "-strparse", at, data=pem).decode()
        rows = re.findall(r"(cons|prim): +([^:\n]+?) *(?::(.*))?\n", inner)
        at = [i for i, row in enumerate(rows) if row[2] in ("1.3.6.1.5.5.7.8.4", "id-on-hardwareModuleName")]
        self.assertEqual(len(at), 1, inner)
        self.assertEqual([(kind, what.strip(), value) for kind, what, value in rows[at[0] - 1:at[0] + 5]],
                         [("cons", "cont [ 0 ]", ""),
                          ("prim", "OBJECT", rows[at[0]][2]),
                          ("cons", "cont [ 0 ]", ""),
                          ("cons", "SEQUENCE", ""),
                          ("prim", "OBJECT", self.OID),
                          ("prim", "OCTET STRING", SERIAL)], inner)

    def test_mismatch(self):
        for oid in ("1.3.6.1.4.1.32473", self.OID + ".1", "1.2.3"):
            check_problem(self.ordered(oid)[2], 400, "rejectedIdentifier", "hardware-type")

    def test_profile_changes_before_finalize(self):
        c, _, got = self.ordered()
        write_profiles(self.server, {"management": "[profile]\npurpose = management\n"})
        self.reload()
        try:
            check_problem(self.finalized(c, got)[1], 400, "rejectedIdentifier", "hardware-type")
        finally:
            write_profiles(self.server, {"management": "[profile]\npurpose = management\n[san]\n"
                                                       f"hardware_module = {self.OID}\n"})
            self.reload()
        self.assertIn("hardware-type", [a["reason"] for a in self.server.attempts(SERIAL)])

    def reload(self):
        n = self.server.tail(10000).count("event=server.reloaded")
        self.server.process.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: self.server.tail(10000).count("event=server.reloaded") > n)


class Formats(unittest.TestCase):
    def test_formats_are_configured(self):
        """What is unknown or not built is refused by the check of the configuration."""
        server = Server().init()
        self.addCleanup(server.__exit__, None, None, None)
        for value, word in (("apple", None), ("", None), ("tpm", "cannot verify"),
                            ("apple step", "cannot verify"), ("android-key", "cannot verify"),
                            ("packed", "no attestation format"), ("Apple", "no attestation format")):
            done = run(program("testudo"), "config", "check", f"--config={server.ini}",
                       f"--acme-formats={value}", check=False)
            self.assertEqual(done.returncode == 0, word is None, done.stderr)
            self.assertIn(word or "", done.stderr)


class FormatsOff(Base):
    settings = {"acme__formats": ""}

    def test_all_off(self):
        c, _, challenge = self.pending()
        _, obj = self.attestation(c, challenge["token"])
        got = c.post(challenge["url"], {"attObj": b64url(obj)})
        self.assertEqual(got.json["error"]["reason"], "format-not-enabled")
        self.assertEqual(self.server.attempts(SERIAL)[0]["reason"], "format-not-enabled")


if __name__ == "__main__":
    unittest.main()
