"""What a device-attestation CA must refuse, one row a hole: what other servers let through, and what
a hostile client can say. Each is refused with its reason, and the reason is shown by the API where a
device, or a stranger who names one, is behind it."""
import hashlib
import json
import os
import unittest

from test_acme import ARC, Base, JOSE, SERIAL, cbor, check_problem, jws, jws_signature, openssl, public_jwk
from testudo import b64url

OTHER = "NEGATIVE02"  # listed too, with another link
FRESH = f"{ARC}.11.1"
SERIAL_OID = f"{ARC}.9.1"


def der(tag, content):
    return bytes([tag, len(content)]) + content


# --- attestation: name, reason, what the device sends instead ------------------------------------
# A function gets the test, the client, the token and returns the payload of the challenge.

def leaf(rows=None, **more):
    """A payload whose leaf differs in those extensions ("" leaves one out)."""
    def build(test, c, token):
        return {"attObj": b64url(test.attestation(c, token, **more, **(rows or {}))[1])}
    return build


def reshaped(change):
    """A payload whose attestation object is made anew from the honest certificates."""
    def build(test, c, token):
        test.attestation(c, token)
        pki = test.server.pki
        sub = openssl("x509", "-in", os.path.join(pki, "sub.pem"), "-outform", "DER")
        root = openssl("x509", "-in", os.path.join(pki, "root.pem"), "-outform", "DER")
        return {"attObj": b64url(change(test.leaf_der(c), sub, root))}
    return build


def statement(x5c, fmt="apple"):
    return cbor({"fmt": fmt, "attStmt": {"x5c": x5c}})


def key_authorization(test, c, token):
    """Freshness over the key authorization, as formats without an external authority have it."""
    thumb = b64url(hashlib.sha256(json.dumps(c.jwk(), separators=(",", ":"), sort_keys=True)
                                  .encode()).digest())
    return leaf({FRESH: hashlib.sha256(f"{token}.{thumb}".encode()).hexdigest()})(test, c, token)


def self_made(test, c, token):
    """A chain of the attacker's own making, with the names of the real one."""
    pki = test.server.pki
    with open(c.path("ca.ext"), "w", encoding="ascii") as f:
        f.write("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
    subject = openssl("x509", "-in", os.path.join(pki, "sub.pem"), "-noout", "-subject", "-nameopt",
                      "compat").decode().partition("=")[2].strip()
    key = c.new_key("fake-sub", "P-384")
    openssl("req", "-new", "-x509", "-key", key, "-subj", subject if subject.startswith("/") else
            "/CN=Simulated Sub CA", "-days", "30", "-out", c.path("fake-sub.pem"), "-addext",
            "keyUsage=critical,keyCertSign")
    fresh = hashlib.sha256(token.encode()).hexdigest()
    with open(c.path("leaf.ext"), "w", encoding="ascii") as f:
        f.write(f"basicConstraints=critical,CA:FALSE\n{SERIAL_OID}=DER:{SERIAL.encode().hex()}\n"
                f"{FRESH}=DER:{fresh}\n")
    device = c.new_key("device", "P-384")
    openssl("req", "-new", "-key", device, "-subj", "/CN=leaf", "-out", c.path("leaf.csr"))
    made = openssl("x509", "-req", "-in", c.path("leaf.csr"), "-CA", c.path("fake-sub.pem"),
                   "-CAkey", key, "-CAcreateserial", "-CAserial", c.path("serial"), "-days", "9",
                   "-extfile", c.path("leaf.ext"), "-outform", "DER")
    sub = openssl("x509", "-in", c.path("fake-sub.pem"), "-outform", "DER")
    return {"attObj": b64url(statement([made, sub]))}


def utf8(text):
    return der(0x0c, text.encode()).hex()


ATTESTATIONS = [
    # reference section 7, 1: the freshness extension is mandatory
    ("freshness absent", "freshness-missing", leaf({FRESH: ""})),
    ("freshness of another order", "freshness-mismatch", leaf({FRESH: "11" * 32})),
    ("freshness 31 bytes", "freshness-mismatch", leaf({FRESH: "11" * 31})),
    ("freshness 33 bytes", "freshness-mismatch", leaf({FRESH: "11" * 33})),
    ("freshness over the key authorization", "freshness-mismatch", key_authorization),
    # 2, 3: the serial number is compared, with what the server bound to the order
    ("serial absent (user enrolment; an AK without identifier)", "serial-missing",
     leaf({SERIAL_OID: ""})),
    ("serial of another listed device", "serial-mismatch", leaf(serial=OTHER)),
    ("serial of no listed device", "serial-mismatch", leaf(serial="UNLISTED01")),
    ("serial in lower case", "serial-mismatch", leaf(serial=SERIAL.lower())),
    ("serial and a blank", "serial-mismatch", leaf(serial=SERIAL + " ")),
    ("serial and a NUL", "serial-mismatch", leaf({SERIAL_OID: SERIAL.encode().hex() + "00"})),
    ("serial of another, in UTF8String", "serial-mismatch", leaf({SERIAL_OID: utf8(OTHER)})),
    # the attestation itself
    ("empty x5c", "attestation-missing", reshaped(lambda *_: statement([]))),
    ("no attestation object", "attestation-missing", lambda *_: {}),
    ("Apple's error text", "attestation-missing",
     lambda *_: {"attObj": b64url(statement([])), "error": "The device could not be attested"}),
    ("error beside a good attestation", "attestation-missing",
     lambda test, c, token: {**leaf()(test, c, token), "error": "none"}),
    ("leaf alone", "x5c-malformed", reshaped(lambda own, sub, root: statement([own]))),
    ("leaf twice", "chain-untrusted", reshaped(lambda own, sub, root: statement([own, own]))),
    ("chain upside down", "chain-untrusted", reshaped(lambda own, sub, root: statement([sub, own]))),
    ("sub CA as leaf", "leaf-is-ca", reshaped(lambda own, sub, root: statement([sub, root]))),
    ("root in place of the sub CA", "chain-untrusted",
     reshaped(lambda own, sub, root: statement([own, root]))),
    ("seven certificates", "x5c-malformed",
     reshaped(lambda own, sub, root: statement([own, sub] + [root] * 5))),
    ("x5c entry of 8193 bytes", "x5c-malformed",
     reshaped(lambda own, sub, root: statement([own, b"\x30" * 8193]))),
    ("a chain of one's own", "chain-untrusted", self_made),
    ("another root's leaf over TLS", "x5c-malformed",
     reshaped(lambda own, sub, root: statement([b"", b""]))),
    ("format none", "format-not-enabled", reshaped(lambda own, sub, _: statement([own, sub], "none"))),
    ("format packed", "format-not-enabled",
     reshaped(lambda own, sub, _: statement([own, sub], "packed"))),
    ("format step, off", "format-not-enabled",
     reshaped(lambda own, sub, _: statement([own, sub], "step"))),
    ("format tpm, off", "format-not-enabled",
     reshaped(lambda own, sub, _: statement([own, sub], "tpm"))),
    ("format android-key, off", "format-not-enabled",
     reshaped(lambda own, sub, _: statement([own, sub], "android-key"))),
    ("format Apple in upper case", "format-not-enabled",
     reshaped(lambda own, sub, _: statement([own, sub], "Apple"))),
    ("CBOR cut short", "cbor-malformed", reshaped(lambda own, sub, _: statement([own, sub])[:-1])),
    ("CBOR with a byte behind it", "cbor-malformed",
     reshaped(lambda own, sub, _: statement([own, sub]) + b"\0")),
    ("CBOR with a member twice", "cbor-malformed",
     reshaped(lambda own, sub, _: b"\xa3" + statement([own, sub])[1:] + cbor("fmt") + cbor("tpm"))),
    ("CBOR of indefinite length", "cbor-malformed",
     reshaped(lambda own, sub, _: b"\xbf" + statement([own, sub])[1:] + b"\xff")),
    ("CBOR array 2^32 long", "cbor-malformed",
     reshaped(lambda *_: b"\xa2" + cbor("fmt") + cbor("apple") + cbor("attStmt") + b"\xa1" +
              cbor("x5c") + b"\x9a\xff\xff\xff\xff")),
    ("no CBOR", "cbor-malformed", lambda *_: {"attObj": b64url(b"attestation")}),
    ("empty object", "cbor-malformed", lambda *_: {"attObj": ""}),
    ("attObj is no base64", "cbor-malformed", lambda *_: {"attObj": "*"}),
    ("attObj is a number", "cbor-malformed", lambda *_: {"attObj": 1}),
]


class Attestations(Base):
    settings = {"acme__device_orders": 0, "acme__account_orders": 0, "acme__device_failures": 0}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.put_device(OTHER)

    def leaf_der(self, c):
        """The certificate that attestation() made last."""
        pki = self.server.pki
        return openssl("x509", "-req", "-in", c.path("leaf.csr"), "-CA", os.path.join(pki, "sub.pem"),
                       "-CAkey", os.path.join(pki, "sub.key"), "-CAserial", c.path("serial"),
                       "-days", "90", "-sha384", "-extfile", c.path("leaf.ext"), "-outform", "DER")

    def refused(self, reason, serial=SERIAL):
        shown = self.server.attempts(serial)[0]
        self.assertEqual((shown["outcome"], shown["reason"]), ("refused", reason), shown)
        return shown

    def test_refused_with_its_reason(self):
        """Each row ends its order; the answer, the order and the API say why."""
        c, before = self.client(), self.server.certificates(SERIAL)
        for name, reason, build in ATTESTATIONS:
            with self.subTest(name):
                _, order, challenge = self.pending(client=c)
                got = c.post(challenge["url"], build(self, c, challenge["token"]))
                self.assertEqual((got.status, got.json["status"]), (200, "invalid"), got)
                self.assertEqual(got.json["error"]["reason"], reason)
                self.assertTrue(got.json["error"]["type"].endswith(":badAttestationStatement"))
                shown = self.refused(reason)
                if name == "Apple's error text":
                    self.assertEqual(shown["device_error"], "The device could not be attested")
                state = c.post(order["url"]).json
                self.assertEqual(state["status"], "invalid")
                self.assertEqual(state["error"]["reason"], reason)
                check_problem(c.post(order["finalize"], self.csr(c.path("device"))), 403,
                              "orderNotReady", "order-not-ready")
        # it is final: the honest attestation comes too late
        _, obj = self.attestation(c, challenge["token"])
        late = c.post(challenge["url"], {"attObj": b64url(obj)})
        self.assertEqual(late.json["status"], "invalid")
        self.assertEqual(self.server.certificates(SERIAL), before)
        self.assertEqual(self.server.certificates(OTHER), [])

    def test_attestation_used_again(self):
        """Apple's answer for one order does for no other, nor its key."""
        c, _, challenge = self.pending()
        _, obj = self.attestation(c, challenge["token"])
        d, order, second = self.pending()
        got = d.post(second["url"], {"attObj": b64url(obj)})
        self.assertEqual(got.json["error"]["reason"], "freshness-mismatch")
        self.assertEqual(c.post(challenge["url"], {"attObj": b64url(obj)}).json["status"], "valid")
        e, _, third = self.pending()
        os.replace(c.path("device"), e.path("old"))  # the same key, honestly attested anew
        fresh = hashlib.sha256(third["token"].encode()).hexdigest()
        with open(e.path("leaf.ext"), "w", encoding="ascii") as f:
            f.write("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                    f"{SERIAL_OID}=DER:{SERIAL.encode().hex()}\n{FRESH}=DER:{fresh}\n")
        openssl("req", "-new", "-key", e.path("old"), "-subj", "/CN=leaf", "-out", e.path("leaf.csr"))
        with open(e.path("serial"), "w", encoding="ascii") as f:
            f.write("0123456789ABCDEF\n")
        pki = self.server.pki
        sub = openssl("x509", "-in", os.path.join(pki, "sub.pem"), "-outform", "DER")
        got = e.post(third["url"], {"attObj": b64url(statement([self.leaf_der(e), sub]))})
        self.assertEqual(got.json["error"]["reason"], "key-reused")
        self.refused("key-reused")
        del order

    def test_attestation_of_the_other_order(self):
        """Two orders of one account: a token is of its own challenge alone."""
        c = self.client()
        _, _, first = self.pending(client=c)
        _, _, second = self.pending(client=c)
        _, obj = self.attestation(c, first["token"])
        got = c.post(second["url"], {"attObj": b64url(obj)})
        self.assertEqual(got.json["error"]["reason"], "freshness-mismatch")
        self.assertEqual(c.post(first["url"], {"attObj": b64url(obj)}).json["status"], "valid")

    # --- identifiers ---

    def test_identifiers(self):
        """No identifier, one of nobody, a serial number in its place, one that is used."""
        c = self.client()
        used = self.identifier()
        self.assertEqual(c.order(used).status, 201)
        kind = "permanent-identifier"
        rows = [
            ("none", {"identifiers": []}, 400, "malformed", "payload-malformed"),
            ("no member", {}, 400, "malformed", "payload-malformed"),
            ("a serial number", {"identifiers": [{"type": kind, "value": SERIAL}]}, 400,
             "rejectedIdentifier", "client-id-unknown"),
            ("used", {"identifiers": [{"type": kind, "value": used}]}, 400, "rejectedIdentifier",
             "client-id-used"),
            ("a name", {"identifiers": [{"type": "dns", "value": "mdm.example"}]}, 400,
             "unsupportedIdentifier", "identifier-type"),
            ("with an assigner", {"identifiers": [{"type": kind, "value": used + "/1.2.3"}]}, 400,
             "rejectedIdentifier", "identifier-assigner"),
            ("two", {"identifiers": [{"type": kind, "value": "a"}, {"type": kind, "value": "b"}]},
             400, "rejectedIdentifier", "identifier-count"),
            ("a validity", {"identifiers": [{"type": kind, "value": "a"}],
                            "notAfter": "2099-01-01T00:00:00Z"}, 400, "malformed",
             "validity-requested"),
        ]
        for name, payload, status, kind_, reason in rows:
            with self.subTest(name):
                check_problem(c.post(c.urls["newOrder"], payload), status, kind_, reason)
        self.refused("client-id-used")
        strangers = self.server.api("GET", "/api/v1/attempts").json["attempts"]
        self.assertIn("client-id-unknown", [a["reason"] for a in strangers if a["serial"] == ""])

    # --- CSR ---

    def test_csr_wishes_are_ignored(self):
        """A CA, another use, other names, another subject: the server writes the certificate."""
        c, order, key = self.ready()
        csr = openssl("req", "-new", "-key", key, "-subj", "/CN=ROOT/O=Evil/serialNumber=" + OTHER,
                      "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
                      "keyUsage=critical,keyCertSign,cRLSign", "-addext",
                      "extendedKeyUsage=codeSigning,serverAuth,OCSPSigning", "-addext",
                      "subjectAltName=DNS:evil.example,email:root@evil.example,"
                      f"otherName:1.3.6.1.5.5.7.8.3;UTF8:{OTHER}", "-outform", "DER")
        got = c.post(order["finalize"], {"csr": b64url(csr)})
        self.assertEqual(got.json["status"], "valid", got)
        pem = c.post(got.json["certificate"]).body
        text = openssl("x509", "-noout", "-text", data=pem).decode()
        for bad in ("evil", "Evil", "CA:TRUE", "Certificate Sign", "Code Signing", OTHER,
                    "TLS Web Server", "OCSP Signing"):
            self.assertNotIn(bad, text)
        self.assertIn("TLS Web Client Authentication", text)
        self.assertIn(f"CN = {SERIAL}", text)

    def test_csrs(self):
        """The key is the attested one, and the CSR is sound; else the order stays ready."""
        c, order, key = self.ready()
        good = openssl("req", "-new", "-key", key, "-subj", "/CN=x", "-outform", "DER")
        foreign = c.new_key("foreign", "P-384")
        smaller = c.new_key("smaller", "P-256")
        account = openssl("req", "-new", "-key", c.key, "-subj", "/CN=x", "-outform", "DER")
        broken = good[:-1] + bytes([good[-1] ^ 1])

        def of(path):
            return openssl("req", "-new", "-key", path, "-subj", "/CN=x", "-outform", "DER")
        rows = [
            ("another key", of(foreign), "csr-key-mismatch"),
            ("another curve", of(smaller), "csr-key-mismatch"),
            ("the account's key", account, "csr-key-mismatch"),
            ("its signature does not hold", broken, "csr-signature"),
            ("cut short", good[:-1], "csr-malformed"),
            ("a byte behind it", good + b"\0", "csr-malformed"),
            ("empty", b"", "csr-malformed"),
            ("8193 bytes", b"\x30" * 8193, "csr-malformed"),
            ("a certificate", openssl("x509", "-in", self.server.root, "-outform", "DER"),
             "csr-malformed"),
        ]
        for name, data, reason in rows:
            with self.subTest(name):
                check_problem(c.post(order["finalize"], {"csr": b64url(data)}), 400, "badCSR", reason)
                self.refused(reason)
        for payload in ({}, {"csr": 1}, {"csr": "*"}, {"csr": None}):
            check_problem(c.post(order["finalize"], payload), 400, "badCSR", "csr-malformed")
        self.assertEqual(c.post(order["url"]).json["status"], "ready")
        got = c.post(order["finalize"], {"csr": b64url(good)})
        self.assertEqual(got.json["status"], "valid", got)
        check_problem(c.post(order["finalize"], {"csr": b64url(good)}), 403, "orderNotReady")

    # --- JWS ---

    def test_jws(self):
        """One honest request, spoiled in one place."""
        c, stranger = self.client(), self.client()
        nobody = c.kid[:-1] + ("A" if c.kid[-1] != "A" else "B")
        base = self.server.public
        m, u = "malformed", "unauthorized"
        head = {
            "url of another resource": ({"url": c.urls["newNonce"]}, 403, u, "url-mismatch"),
            "url of another host": ({"url": c.kid.replace("localhost", "evil.example")}, 403, u,
                                    "url-mismatch"),
            "url without scheme": ({"url": c.kid[len("https:"):]}, 403, u, "url-mismatch"),
            "no url": ({"url": None}, 400, m, "jws-malformed"),
            "no nonce": ({"nonce": None}, 400, m, "jws-malformed"),
            "nonce of one's own": ({"nonce": b64url(os.urandom(16))}, 400, "badNonce", "nonce-bad"),
            "nonce is a number": ({"nonce": 1}, 400, m, "jws-malformed"),
            "no alg": ({"alg": None}, 400, m, "jws-malformed"),
            "alg none": ({"alg": "none"}, 400, "badSignatureAlgorithm", "alg-unsupported"),
            "alg None": ({"alg": "None"}, 400, "badSignatureAlgorithm", "alg-unsupported"),
            "alg HS256": ({"alg": "HS256"}, 400, "badSignatureAlgorithm", "alg-unsupported"),
            "alg RS1": ({"alg": "RS1"}, 400, "badSignatureAlgorithm", "alg-unsupported"),
            "alg of another type of key": ({"alg": "RS256"}, 400, m, "alg-key-mismatch"),
            "jwk and kid": ({"jwk": c.jwk()}, 400, m, "jws-malformed"),
            "neither": ({"kid": None}, 400, m, "jws-malformed"),
            "jwk in place of kid": ({"kid": None, "jwk": c.jwk()}, 400, m, "key-form"),
            "kid of a stranger": ({"kid": stranger.kid}, 403, u, "signature-bad"),
            "kid of nobody": ({"kid": nobody}, 400, "accountDoesNotExist", "account-unknown"),
            "kid without host": ({"kid": c.kid[len(base):]}, 400, "accountDoesNotExist",
                                 "account-unknown"),
            "kid of another host": ({"kid": c.kid.replace("localhost", "evil.example")}, 400,
                                    "accountDoesNotExist", "account-unknown"),
            "kid is a number": ({"kid": 1}, 400, m, "jws-malformed"),
            "crit": ({"crit": ["exp"], "exp": 1}, 400, m, "jws-malformed"),
            "crit, empty": ({"crit": []}, 400, m, "jws-malformed"),
            "b64 false": ({"b64": False}, 400, m, "jws-malformed"),
            "b64 true": ({"b64": True}, 400, m, "jws-malformed"),
        }
        for name, (twist, status, kind, reason) in head.items():
            with self.subTest(name):
                check_problem(c.post(c.kid, None, **twist), status, kind, reason)
        self.assertEqual(c.post(c.kid).status, 200)

        def spoiled(change):
            def build():
                body = c.signed(c.kid, None)
                return change(body, json.dumps(body))
            return build

        def prot(text):
            """A JWS, rightly signed, whose protected header is that text."""
            return lambda: json.dumps(self.raw_jws(
                c, text.replace("NONCE", c.nonce).replace("KID", c.kid)))
        row = f'"url":"{c.kid}","nonce":"NONCE"'
        bodies = {
            "signature empty": spoiled(lambda b, _: json.dumps({**b, "signature": ""})),
            "signature of zeros": spoiled(lambda b, _: json.dumps({**b, "signature": "A" * 86})),
            "signature 59 bytes": spoiled(lambda b, _: json.dumps({**b, "signature": "A" * 79})),
            "signature in DER": spoiled(lambda b, _: json.dumps(
                {**b, "signature": b64url(self.der_signature(c, b))})),
            "payload swapped": spoiled(lambda b, _: json.dumps(
                {**b, "payload": b64url(b'{"status":"deactivated"}')})),
        }
        for name, build in bodies.items():
            with self.subTest(name):
                check_problem(c.send(c.kid, build()), 403, "unauthorized", "signature-bad")
        shapes = {
            "empty": lambda: "",
            "no JSON": lambda: "x",
            "an array": lambda: "[]",
            "compact form": spoiled(lambda b, _: ".".join(
                (b["protected"], b["payload"], b["signature"]))),
            "general form": spoiled(lambda b, _: json.dumps({"payload": b["payload"], "signatures": [
                {"protected": b["protected"], "signature": b["signature"]}]})),
            "unprotected header": spoiled(lambda b, _: json.dumps({**b, "header": {"kid": c.kid}})),
            "payload twice": spoiled(lambda b, text: text[:-1] + ', "payload": ""}'),
            "protected twice": spoiled(
                lambda b, text: text[:-1] + f', "protected": "{b["protected"]}"}}'),
            "no payload": spoiled(lambda b, _: json.dumps({k: v for k, v in b.items()
                                                           if k != "payload"})),
            "payload null": spoiled(lambda b, _: json.dumps({**b, "payload": None})),
            "padding": spoiled(lambda b, _: json.dumps({**b, "signature": b["signature"] + "=="})),
            "line end": spoiled(lambda b, _: json.dumps({**b, "protected": b["protected"] + "\n"})),
            "bytes behind it": spoiled(lambda b, text: text + "{}"),
            "cut short": spoiled(lambda b, text: text[:-1]),
            "alg twice in the header": prot(f'{{"alg":"ES256","alg":"none","kid":"KID",{row}}}'),
            "kid twice in the header": prot(f'{{"alg":"ES256","kid":"KID","kid":"KID",{row}}}'),
            "header is an array": prot("[]"),
            "header empty": prot(""),
        }
        for name, build in shapes.items():
            with self.subTest(name):
                check_problem(c.send(c.kid, build()), 400, "malformed", "jws-malformed")
        self.assertEqual(c.post(c.kid).json["status"], "valid")

    def raw_jws(self, c, head):
        p = b64url(head.encode())
        return {"protected": p, "payload": "",
                "signature": b64url(jws_signature(c.key, "ES256", f"{p}.".encode()))}

    @staticmethod
    def der_signature(c, body):
        return openssl("dgst", "-sha256", "-sign", c.key,
                       data=f"{body['protected']}.{body['payload']}".encode())

    def test_replay(self):
        """The bytes of each signed request, sent a second time."""
        c, order, challenge = self.pending()
        key, obj = self.attestation(c, challenge["token"])
        for url, payload in ((c.kid, None), (order["url"], None), (order["authorizations"][0], None),
                             (challenge["url"], {"attObj": b64url(obj)}),
                             (order["finalize"], self.csr(key))):
            body = json.dumps(c.signed(url, payload))
            self.assertEqual(c.send(url, body).status, 200)
            for _ in range(2):
                got = c.send(url, body)
                check_problem(got, 400, "badNonce", "nonce-bad")
                self.assertTrue(got.headers["Replay-Nonce"])
        other = self.client()
        stolen = json.dumps(c.signed(c.kid, None))
        check_problem(other.send(other.kid, stolen), 403, "unauthorized", "url-mismatch")

    def test_content_types(self):
        c = self.client()
        for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded",
                     "application/jose", "application/jose+jsonx", ""):
            with self.subTest(kind):
                got = c.send(c.kid, json.dumps(c.signed(c.kid, None)), {"Content-Type": kind})
                check_problem(got, 415, "malformed", "content-type")
        self.assertEqual(c.send(c.kid, json.dumps(c.signed(c.kid, None)), JOSE).status, 200)

    def test_account_keys(self):
        """Keys that newAccount takes none of."""
        c = self.client()
        url, good = c.urls["newAccount"], c.jwk()
        weak = c.path("weak")
        openssl("genrsa", "-out", weak, "1024")
        modulus = openssl("rsa", "-in", weak, "-noout", "-modulus").decode().strip().rpartition("=")[2]
        n = b64url(bytes.fromhex(modulus))
        rows = [
            ("none", {}, "jwk-malformed"), ("a text", "x", "jwk-malformed"),
            ("a symmetric key", {"kty": "oct", "k": "AAAA"}, "jwk-malformed"),
            ("a private key", {**good, "d": good["x"]}, "jwk-malformed"),
            ("a point off the curve", {**good, "y": good["x"]}, "jwk-unsupported"),
            ("the point at infinity", {**good, "x": "A" * 43, "y": "A" * 43}, "jwk-unsupported"),
            ("a short coordinate", {**good, "x": good["x"][:-3]}, "jwk-malformed"),
            ("P-521", {**good, "crv": "P-521"}, "jwk-unsupported"),
            ("secp256k1", {**good, "crv": "secp256k1"}, "jwk-unsupported"),
            ("RSA of 1024 bit", {"kty": "RSA", "n": n, "e": "AQAB"}, "jwk-unsupported"),
            ("RSA with exponent 1", {"kty": "RSA", "n": n, "e": "AQ"}, "jwk-unsupported"),
            ("X25519", {"kty": "OKP", "crv": "X25519", "x": "A" * 43}, "jwk-unsupported"),
        ]
        for name, jwk, reason in rows:
            with self.subTest(name):
                check_problem(c.post(url, {}, kid=None, jwk=jwk), 400, "badPublicKey", reason)
        # its own key in the header, another's signature
        other = c.new_key("other")
        head = {"alg": "ES256", "nonce": c.nonce, "url": url, "jwk": public_jwk(other, "ES256")}
        got = c.send(url, json.dumps(jws(c.key, "ES256", head, {})))
        check_problem(got, 403, "unauthorized", "signature-bad")

    def test_objects_of_another_account(self):
        """Each object of a victim, by a stranger with a good signature."""
        c, order, key = self.ready()
        stranger, authz = self.client(), order["authorizations"][0]
        challenge = c.post(authz).json["challenges"][0]["url"]
        for url, payload in ((c.kid, None), (c.kid, {"status": "deactivated"}),
                             (c.kid, {"contact": ["mailto:evil@example.test"]}),
                             (c.kid + "/orders", None), (order["url"], None), (authz, None),
                             (authz, {"status": "deactivated"}), (challenge, {}),
                             (order["finalize"], self.csr(key)),
                             (order["url"].replace("/order/", "/cert/"), None)):
            with self.subTest(url=url, payload=bool(payload)):
                check_problem(stranger.post(url, payload), 404, "malformed", "not-found")
        state = c.post(order["url"]).json
        self.assertEqual(state["status"], "ready")
        self.assertEqual(c.post(c.kid).json["status"], "valid")
        self.assertEqual(c.post(order["finalize"], self.csr(key)).json["status"], "valid")

    def test_out_of_order(self):
        """Finalize first, the certificate first, a challenge after the end."""
        c, order, challenge = self.pending()
        key = c.new_key("device", "P-384")
        check_problem(c.post(order["finalize"], self.csr(key)), 403, "orderNotReady",
                      "order-not-ready")
        check_problem(c.post(order["url"].replace("/order/", "/cert/")), 404, "malformed")
        self.assertEqual(c.post(order["authorizations"][0], {"status": "deactivated"})
                         .json["status"], "deactivated")
        _, obj = self.attestation(c, challenge["token"])
        self.assertEqual(c.post(challenge["url"], {"attObj": b64url(obj)}).json["status"], "pending")
        check_problem(c.post(order["finalize"], self.csr(c.path("device"))), 403, "orderNotReady")
        check_problem(c.post(order["authorizations"][0], {"status": "deactivated"}), 400, "malformed")


if __name__ == "__main__":
    unittest.main()
