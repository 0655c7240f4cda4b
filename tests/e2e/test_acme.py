"""The ACME side from outside: a client written here, bytes and all, with openssl for the keys."""
import base64
import hashlib
import json
import os
import plistlib
import re
import shutil
import tempfile
import threading
import unittest

from testudo import Server, b64url, run

JOSE = {"Content-Type": "application/jose+json"}
ARC = "1.2.840.113635.100.8"
SERIAL = "ACMEDEV001"


def openssl(*argv, data=None):
    """Bytes in, bytes out."""
    import subprocess
    done = subprocess.run(["openssl", *map(str, argv)], input=data, capture_output=True,
                          timeout=60)
    if done.returncode != 0:
        raise AssertionError(f"openssl {argv}: {done.stderr.decode()[-2000:]}")
    return done.stdout


def raw_signature(der, size=32):
    """R and S of an ECDSA-Sig-Value, each of `size` bytes."""
    out, at = b"", 2 if der[1] < 0x80 else 3
    for _ in range(2):
        n = der[at + 1]
        out += der[at + 2:at + 2 + n].lstrip(b"\0").rjust(size, b"\0")
        at += 2 + n
    return out


def cbor(value):
    """As much of RFC 8949 as an attestation object needs."""
    def head(major, n):
        for info, size in ((24, 1), (25, 2), (26, 4)):
            if n < (24 if size == 1 else 0):
                return bytes([major << 5 | n])
            if n < 1 << 8 * size:
                return bytes([major << 5 | info]) + n.to_bytes(size, "big")
        raise ValueError(n)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value)) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    return head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in value.items())


# alg -> what genpkey wants, the digest that signs, the size of R and S
ALGS = {"ES256": (("EC", "-pkeyopt", "ec_paramgen_curve:P-256"), "-sha256", 32),
        "ES384": (("EC", "-pkeyopt", "ec_paramgen_curve:P-384"), "-sha384", 48),
        "RS256": (("RSA", "-pkeyopt", "rsa_keygen_bits:2048"), "-sha256", 0),
        "EdDSA": (("ED25519",), None, 0)}


def public_jwk(path, alg):
    spki = openssl("pkey", "-in", path, "-pubout", "-outform", "DER")
    if alg == "EdDSA":
        return {"crv": "Ed25519", "kty": "OKP", "x": b64url(spki[-32:])}
    if alg == "RS256":
        n = openssl("rsa", "-in", path, "-noout", "-modulus").decode().strip().rpartition("=")[2]
        return {"e": "AQAB", "kty": "RSA", "n": b64url(bytes.fromhex(n))}
    size = ALGS[alg][2]
    return {"crv": "P-256" if size == 32 else "P-384", "kty": "EC",
            "x": b64url(spki[-2 * size:-size]), "y": b64url(spki[-size:])}


def jws_signature(path, alg, data):
    _, digest, size = ALGS[alg]
    if digest:
        der = openssl("dgst", digest, "-sign", path, data=data)
        return raw_signature(der, size) if size else der
    with tempfile.NamedTemporaryFile() as f:  # Ed25519 signs what it can read twice
        f.write(data)
        f.flush()
        return openssl("pkeyutl", "-sign", "-rawin", "-inkey", path, "-in", f.name)


def jws(path, alg, head, payload):
    """A flattened JWS with that protected header; None is the empty payload."""
    text = "" if payload is None else payload if isinstance(payload, str) else json.dumps(payload)
    prot, body = b64url(json.dumps(head).encode()), b64url(text.encode())
    sig = jws_signature(path, alg, f"{prot}.{body}".encode())
    return {"protected": prot, "payload": body, "signature": b64url(sig)}


class Client:
    """One account. `post` signs honestly unless told otherwise."""

    def __init__(self, server, directory, alg="ES256", profile="management"):
        self.server, self.dir = server, tempfile.mkdtemp(dir=directory)
        self.alg, self.profile = alg, profile
        self.key = self.new_key("account", alg=alg)
        self.kid = self.nonce = None
        self.urls = server.get(server.public, f"/acme/{profile}/directory").json

    def path(self, name):
        return os.path.join(self.dir, name)

    def new_key(self, name, curve="P-256", alg=None):
        kind = ALGS[alg or ("ES256" if curve == "P-256" else "ES384")][0]
        openssl("genpkey", "-algorithm", *kind, "-out", self.path(name))
        return self.path(name)

    def jwk(self):
        return public_jwk(self.key, self.alg)

    def fresh_nonce(self):
        got = self.server.request(self.server.public, "HEAD", "/acme/new-nonce")
        assert got.status == 200, got
        return got.headers["Replay-Nonce"]

    def signed(self, url, payload, /, **protected):
        head = {"alg": self.alg, "nonce": self.nonce or self.fresh_nonce(), "url": url}
        head.update({"kid": self.kid} if self.kid else {"jwk": self.jwk()})
        head.update(protected)
        return jws(self.key, self.alg, {k: v for k, v in head.items() if v is not None}, payload)

    def send(self, url, body, headers=None):
        """Any POST; what every answer to one must have is checked here."""
        base, path = self.server.public, url[len(self.server.public):]
        got = self.server.request(base, "POST", path, body, headers or JOSE)
        assert got.headers["Replay-Nonce"], (url, got)
        assert re.fullmatch(r"[A-Za-z0-9_-]{22}", got.headers["Replay-Nonce"]), got.headers
        assert len(got.headers.get_all("Replay-Nonce")) == 1
        if not path.endswith("/directory"):
            assert f'<{base}/acme/management/directory>;rel="index"' in got.headers.get_all("Link")
        if got.status >= 400:
            check_problem(got)
        self.nonce = got.headers["Replay-Nonce"]
        return got

    def post(self, url, payload=None, /, **protected):
        return self.send(url, json.dumps(self.signed(url, payload, **protected)))

    def account(self, **more):
        got = self.post(self.urls["newAccount"], {"termsOfServiceAgreed": True, **more})
        assert got.status == 201, got
        self.kid = got.headers["Location"]
        return got

    def order(self, identifier, kind="permanent-identifier", **more):
        return self.post(self.urls["newOrder"], {
            "identifiers": [{"type": kind, "value": identifier}], **more})


def check_problem(got, status=None, kind=None, reason=None):
    assert got.headers["Content-Type"] == "application/problem+json", got.headers
    problem = got.json
    assert problem["type"].startswith("urn:ietf:params:acme:error:"), problem
    assert problem["detail"] and problem["status"] == got.status, problem
    assert status in (None, got.status), got
    assert kind in (None, problem["type"].rpartition(":")[2]), problem
    assert reason in (None, problem.get("reason")), problem


class Base(unittest.TestCase):
    """A server, a device in its inventory, and the steps of an enrolment."""
    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(**cls.settings).init().start()
        cls.tmp = tempfile.mkdtemp(prefix="testudo-acme-")
        cls.server.put_device(SERIAL)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)
        shutil.rmtree(cls.tmp, ignore_errors=True)

    def client(self, **more):
        c = Client(self.server, self.tmp, **more)
        c.account()
        return c

    def identifier(self, serial=SERIAL):
        """The ClientIdentifier of a fresh enrolment profile."""
        url = self.server.invite(serial)
        got = self.server.get(self.server.public, url[len(self.server.public):])
        self.assertEqual(got.status, 200, got)
        start = got.body.index(b"<?xml")
        profile = plistlib.loads(got.body[start:got.body.index(b"</plist>") + 8])
        payload = next(p for p in profile["PayloadContent"]
                       if p["PayloadType"] == "com.apple.security.acme")
        self.assertEqual(payload["DirectoryURL"],
                         self.server.public + "/acme/management/directory")
        return payload["ClientIdentifier"]

    def pending(self, serial=SERIAL, client=None, **more):
        """Client, order, challenge of a device about to answer."""
        c = client or self.client()
        got = c.order(self.identifier(serial), **more)
        self.assertEqual(got.status, 201, got)
        order = dict(got.json, url=got.headers["Location"])
        authz = c.post(order["authorizations"][0]).json
        return c, order, authz["challenges"][0]

    def attestation(self, c, token, serial=SERIAL, **more):
        """A device key and an attestation object over it, by the simulated Apple."""
        key = c.new_key("device", "P-384")
        pki = self.server.pki
        fresh = hashlib.sha256(token.encode()).hexdigest()
        rows = {f"{ARC}.9.1": serial.encode().hex(), f"{ARC}.11.1": fresh, **more}
        with open(c.path("leaf.ext"), "w", encoding="ascii") as f:
            f.write("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n")
            f.writelines(f"{oid}=DER:{value}\n" for oid, value in rows.items() if value)
        openssl("req", "-new", "-key", key, "-subj", "/CN=leaf", "-out", c.path("leaf.csr"))
        leaf = openssl("x509", "-req", "-in", c.path("leaf.csr"), "-CA", os.path.join(pki, "sub.pem"),
                       "-CAkey", os.path.join(pki, "sub.key"), "-CAcreateserial", "-CAserial",
                       c.path("serial"), "-days", "90", "-sha384", "-extfile", c.path("leaf.ext"),
                       "-outform", "DER")
        sub = openssl("x509", "-in", os.path.join(pki, "sub.pem"), "-outform", "DER")
        return key, cbor({"fmt": "apple", "attStmt": {"x5c": [leaf, sub]}})

    def ready(self, serial=SERIAL, client=None, **more):
        """Client, order, device key of a device whose attestation was accepted."""
        c, order, challenge = self.pending(serial, client, **more)
        key, obj = self.attestation(c, challenge["token"], serial)
        got = c.post(challenge["url"], {"attObj": b64url(obj)})
        self.assertEqual(got.json["status"], "valid", got)
        return c, order, key

    def issued(self, serial=SERIAL, client=None, **more):
        """Client, order, device key, DER of the certificate."""
        c, order, key = self.ready(serial, client, **more)
        got = c.post(order["finalize"], self.csr(key))
        self.assertEqual((got.status, got.json["status"]), (200, "valid"), got)
        pem = c.post(got.json["certificate"])
        return c, dict(got.json, url=order["url"]), key, openssl("x509", "-outform", "DER",
                                                                 data=pem.body)

    def csr(self, key, subject="/CN=not what will be in it"):
        der = openssl("req", "-new", "-key", key, "-subj", subject, "-addext",
                      "subjectAltName=DNS:evil.example", "-addext",
                      "basicConstraints=critical,CA:TRUE", "-outform", "DER")
        return {"csr": b64url(der)}


class Acme(Base):
    # --- resources ---

    def test_directory(self):
        got = self.server.request(self.server.public, "GET", "/acme/management/directory", "{}",
                                  {"Content-Type": "application/json"})
        self.assertEqual(got.status, 200)
        self.assertEqual(got.headers["Content-Type"], "application/json")
        self.assertIsNone(got.headers["Link"])
        base = self.server.public + "/acme/"
        self.assertEqual(got.json, {
            "newNonce": base + "new-nonce", "newAccount": base + "new-account",
            "newOrder": base + "management/new-order", "revokeCert": base + "revoke-cert",
            "keyChange": base + "key-change", "renewalInfo": base + "renewal-info",
            "meta": {"externalAccountRequired": False}})
        check_problem(self.server.get(self.server.public, "/acme/nothing/directory"), 404,
                      "malformed", "profile-unknown")

    def test_new_nonce(self):
        """Apple's bodies on GET and HEAD; the two statuses; nothing may be kept."""
        seen = set()
        for method, status in (("HEAD", 200), ("GET", 204)):
            for body in (None, "{}"):
                got = self.server.request(self.server.public, method, "/acme/new-nonce", body,
                                          {"Content-Type": "application/json"})
                self.assertEqual((got.status, got.body), (status, b""))
                self.assertEqual(got.headers["Cache-Control"], "no-store")
                self.assertIn('rel="index"', got.headers["Link"])
                seen.add(got.headers["Replay-Nonce"])
        self.assertEqual(len(seen), 4)

    def test_methods(self):
        c, order, challenge = self.pending()
        for url in (c.urls["newAccount"], c.urls["newOrder"], c.kid, c.kid + "/orders",
                    c.urls["keyChange"], c.urls["revokeCert"], order["url"], order["finalize"], order["authorizations"][0],
                    challenge["url"], order["url"].replace("/order/", "/cert/")):
            for method in ("GET", "PUT", "DELETE"):
                got = self.server.request(self.server.public, method, url[len(self.server.public):])
                check_problem(got, 405, "malformed")
                self.assertEqual(got.headers["Allow"], "POST")
                self.assertIn('rel="index"', got.headers["Link"])
        for url in (c.urls["newNonce"], self.server.public + "/acme/management/directory"):
            check_problem(c.send(url, "{}"), 400, "malformed", "jws-malformed")
            check_problem(c.post(url, {}), 400, "malformed", "payload-unexpected")
            got = c.post(url)  # RFC 8555 section 6.3: POST-as-GET beside GET
            self.assertEqual(got.status, 204 if url == c.urls["newNonce"] else 200, got)
        self.assertEqual(got.json, c.urls)
        got = c.send(self.server.public + "/acme/renewal-info/a.b", "{}")
        check_problem(got, 405, "malformed")
        self.assertEqual(got.headers["Allow"], "GET")

    def test_content_type(self):
        c = self.client()
        for kind in ("application/json", "application/jose", "application/jose+json2", "text/plain"):
            got = c.send(c.kid, json.dumps(c.signed(c.kid, None)), {"Content-Type": kind})
            check_problem(got, 415, "malformed", "content-type")
        got = c.send(c.kid, json.dumps(c.signed(c.kid, None)),
                     {"Content-Type": "application/jose+json; charset=utf-8"})
        self.assertEqual(got.status, 200)

    def test_too_large(self):
        c = self.client()
        for size in (65537, 200000):
            got = c.send(c.kid, "x" * size)
            check_problem(got, 413, "malformed", "body-too-large")
        got = c.send(c.kid, "x" * 65536)
        check_problem(got, 400, "malformed", "jws-malformed")

    # --- signed requests ---

    def test_replayed_nonce(self):
        c = self.client()
        body = json.dumps(c.signed(c.kid, None))
        self.assertEqual(c.send(c.kid, body).status, 200)
        for _ in range(2):
            check_problem(c.send(c.kid, body), 400, "badNonce", "nonce-bad")
        self.assertEqual(c.post(c.kid).status, 200)  # the refusal's nonce is good
        for nonce in ("", "AAAAAAAAAAAAAAAAAAAAAA", b64url(os.urandom(16))):
            check_problem(c.post(c.kid, None, nonce=nonce), 400, "badNonce", "nonce-bad")

    def test_one_nonce_many_at_once(self):
        """Of the same bytes sent by eight at a time, one is taken."""
        c = self.client()
        body, answers = json.dumps(c.signed(c.kid, None)), []
        path = c.kid[len(self.server.public):]

        def one():
            answers.append(self.server.request(self.server.public, "POST", path, body, JOSE).status)
        crowd = [threading.Thread(target=one) for _ in range(8)]
        for t in crowd:
            t.start()
        for t in crowd:
            t.join()
        self.assertEqual(sorted(answers), [200] + [400] * 7)

    def test_wrong_url(self):
        c = self.client()
        host = self.server.public.rpartition(":")[0]
        for url in (c.kid + "/", c.kid + "?", c.kid + "?a=b", c.kid + "/orders", host + c.kid[len(
                self.server.public):], c.kid.replace("https", "http"), "", c.kid.upper()):
            check_problem(c.post(c.kid, None, url=url), 403, "unauthorized", "url-mismatch")
        # what Host says is of no interest
        got = c.send(c.kid, json.dumps(c.signed(c.kid, None)), dict(JOSE, Host="evil.example"))
        self.assertEqual(got.status, 200)

    def test_signature(self):
        c, other = self.client(), self.client()
        for alg, kind in (("none", "badSignatureAlgorithm"), ("HS256", "badSignatureAlgorithm"),
                          ("ES512", "badSignatureAlgorithm"), ("ES384", "malformed")):
            got = c.post(c.kid, None, alg=alg)
            check_problem(got, 400, kind)
            if kind == "badSignatureAlgorithm":
                self.assertEqual(got.json["algorithms"], ["ES256", "ES384", "RS256", "EdDSA"])
        check_problem(c.post(c.kid, None, kid=other.kid), 403, "unauthorized", "signature-bad")
        nobody = other.kid[:-1] + ("Q" if other.kid.endswith("A") else "A")
        check_problem(c.post(c.kid, None, kid=nobody), 400, "accountDoesNotExist")
        check_problem(c.post(c.kid, None, jwk=c.jwk()), 400, "malformed", "jws-malformed")
        check_problem(c.post(c.kid, None, kid=None, jwk=c.jwk()), 400, "malformed", "key-form")
        check_problem(c.post(c.urls["newAccount"], {}), 400, "malformed", "key-form")
        body = c.signed(c.kid, {"status": "deactivated"})
        body["payload"] = b64url(b"{}")
        check_problem(c.send(c.kid, json.dumps(body)), 403, "unauthorized", "signature-bad")
        self.assertEqual(c.post(c.kid).json["status"], "valid")

    def test_account(self):
        c = Client(self.server, self.tmp)
        check_problem(c.post(c.urls["newAccount"], {"onlyReturnExisting": True}), 400,
                      "accountDoesNotExist", "account-unknown")
        got = c.account()
        self.assertEqual(got.json, {"status": "valid", "termsOfServiceAgreed": True,
                                    "orders": c.kid + "/orders"})
        kid, c.kid = c.kid, None
        got = c.post(c.urls["newAccount"], {})
        self.assertEqual((got.status, got.headers["Location"]), (200, kid))

    def test_other_accounts_objects(self):
        c, order, challenge = self.pending()
        stranger = self.client()
        urls = [order["url"], order["authorizations"][0], challenge["url"], c.kid,
                c.kid + "/orders", order["url"].replace("/order/", "/cert/")]
        for url in urls:
            check_problem(stranger.post(url), 404, "malformed", "not-found")
        key, obj = self.attestation(c, challenge["token"])
        answer = {"attObj": b64url(obj)}
        check_problem(stranger.post(challenge["url"], answer), 404, "malformed", "not-found")
        check_problem(stranger.post(order["finalize"], self.csr(key)), 404)
        check_problem(stranger.post(order["authorizations"][0], {"status": "deactivated"}), 404)
        # the owner is not disturbed: the attestation is not bound to an account, the token is
        self.assertEqual(c.post(challenge["url"], answer).json["status"], "valid")

    # --- the way to a certificate ---

    def test_nine_requests(self):
        c, order, challenge = self.pending()
        self.assertEqual(order["status"], "pending")
        self.assertEqual(challenge["type"], "device-attest-01")
        key, obj = self.attestation(c, challenge["token"])
        foreign = c.new_key("foreign", "P-384")
        got = c.post(order["finalize"], self.csr(key))
        check_problem(got, 403, "orderNotReady", "order-not-ready")  # out of order
        got = c.post(challenge["url"], {"attObj": b64url(obj)})
        self.assertEqual(got.json["status"], "valid", got)
        self.assertIn(f'<{order["authorizations"][0]}>;rel="up"', got.headers.get_all("Link"))
        check_problem(c.post(order["finalize"], self.csr(foreign)), 400, "badCSR",
                      "csr-key-mismatch")
        self.assertEqual(c.post(order["url"]).json["status"], "ready")
        got = c.post(order["finalize"], self.csr(key))
        self.assertEqual((got.status, got.json["status"]), (200, "valid"), got)
        self.assertEqual(got.headers["Location"], order["url"])
        check_problem(c.post(order["finalize"], self.csr(key)), 403, "orderNotReady")
        got = c.post(c.post(order["url"]).json["certificate"])
        self.assertEqual(got.headers["Content-Type"], "application/pem-certificate-chain")
        text = openssl("x509", "-noout", "-text", data=got.body).decode()
        self.assertIn(f"CN = {SERIAL}", text)
        for bad in ("evil.example", "CA:TRUE", "not what will be in it"):
            self.assertNotIn(bad, text)
        with open(c.path("leaf.pem"), "wb") as f:
            f.write(got.body)
        run("openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile",
            self.server.root, "-untrusted", c.path("leaf.pem"), c.path("leaf.pem"))
        self.assertIn("issued", [a["outcome"] for a in self.server.attempts(SERIAL)[:3]])

    def test_identifier_once(self):
        c, identifier = self.client(), self.identifier()
        self.assertEqual(c.order(identifier).status, 201)
        for who in (c, self.client()):
            check_problem(who.order(identifier), 400, "rejectedIdentifier", "client-id-used")
        check_problem(c.order("A" * 43), 400, "rejectedIdentifier", "client-id-unknown")
        check_problem(c.order(SERIAL), 400, "rejectedIdentifier", "client-id-unknown")

    def test_attestation_of_another(self):
        """A listed device with the link of another; its own serial number does not help."""
        self.server.put_device("ACMEDEV002")
        rows = [("serial-mismatch", {"serial": "ACMEDEV002"}), ("freshness-missing", {f"{ARC}.11.1": ""}),
                ("freshness-mismatch", {f"{ARC}.11.1": "00" * 32}),
                ("serial-missing", {f"{ARC}.9.1": ""})]
        for reason, twist in rows:
            with self.subTest(reason):
                c, order, challenge = self.pending()
                serial = twist.pop("serial", SERIAL)
                key, obj = self.attestation(c, challenge["token"], serial, **twist)
                got = c.post(challenge["url"], {"attObj": b64url(obj)})
                self.assertEqual((got.status, got.json["status"]), (200, "invalid"), got)
                self.assertEqual(got.json["error"]["reason"], reason)
                self.assertTrue(got.json["error"]["type"].endswith(":badAttestationStatement"))
                check_problem(c.post(order["finalize"], self.csr(key)), 403, "orderNotReady")
                refused = [a["reason"] for a in self.server.attempts(SERIAL)]
                self.assertIn(reason, refused[:2])

    def test_leaving(self):
        """Deleted and listed anew between attestation and finalize: that order issues nothing."""
        serial = "ACMEDEV003"
        self.server.put_device(serial)
        c, order, challenge = self.pending(serial)
        key, obj = self.attestation(c, challenge["token"], serial)
        self.assertEqual(c.post(challenge["url"], {"attObj": b64url(obj)}).json["status"], "valid")
        self.assertEqual(
            self.server.api("DELETE", f"/api/v1/inventory/devices/{serial}").status, 204)
        check_problem(c.post(order["finalize"], self.csr(key)), 403, "rejectedIdentifier",
                      "device-not-listed")
        self.server.put_device(serial)
        check_problem(c.post(order["finalize"], self.csr(key)), 400, "rejectedIdentifier",
                      "client-id-ended")
        self.assertEqual(self.server.certificates(serial), [])

    def test_urls_are_plain(self):
        """Apple's client escapes what it finds, `%` included: nothing of ours needs it."""
        c, order, challenge = self.pending()
        for url in (c.kid, order["url"], order["finalize"], challenge["url"], *order["authorizations"]):
            self.assertRegex(url[len("https://"):], r"\A[A-Za-z0-9._~/:-]+\Z")
        self.assertGreaterEqual(len(base64.urlsafe_b64decode(challenge["token"] + "==")), 16)


if __name__ == "__main__":
    unittest.main()
