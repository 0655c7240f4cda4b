"""The REST API as a sync would use it, and everything it must refuse."""
import json
import unittest
import xml.etree.ElementTree

from testudo import Server

READS = ["/inventory/devices", "/devices", "/attempts", "/ca", "/tokens", "/audit"]


class Api(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.server.init()
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def api(self, method, path, *args, **more):
        return self.server.api(method, "/api/v1" + path, *args, **more)

    def test_unauthorised(self):
        for path in READS:
            for token in ("", "td_" + "A" * 43, "td_short", self.server.token + "x"):
                with self.subTest(path, token=token[:8]):
                    answer = self.api("GET", path, token=token)
                    self.assertEqual(answer.status, 401)
                    self.assertIn("Bearer", answer.headers["WWW-Authenticate"])
                    self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
            self.assertEqual(self.api("GET", path).status, 200)

    def test_scopes(self):
        made = self.api("POST", "/tokens", {"name": "reader", "scopes": "inventory:read"}).json
        reader = made["token"]
        self.assertEqual(self.api("GET", "/inventory/devices", token=reader).status, 200)
        for method, path in (("PUT", "/inventory/devices/X1"), ("DELETE", "/inventory/devices/X1"),
                             ("GET", "/devices"), ("GET", "/audit"), ("POST", "/tokens")):
            body = {} if method in ("PUT", "POST") else None
            answer = self.api(method, path, body, token=reader)
            self.assertEqual((answer.status, answer.json.get("reason")), (403, "scope-missing"))
        self.assertEqual(self.api("DELETE", f"/tokens/{made['id']}").status, 204)
        self.assertEqual(self.api("GET", "/inventory/devices", token=reader).status, 401)
        self.assertEqual(self.api("DELETE", f"/tokens/{made['id']}").status, 404)
        answer = self.api("POST", "/tokens", {"name": "x", "scopes": "root"})
        self.assertEqual(answer.status, 400)
        self.assertNotIn(self.server.token, json.dumps(self.api("GET", "/tokens").json))

    def test_device_life(self):
        path = "/inventory/devices/LIFE01"
        self.assertEqual(self.api("GET", path).status, 404)
        made = self.api("PUT", path, {"name": "n", "owner": "ada & <co>"})
        self.assertEqual((made.status, made.json["owner"]), (201, "ada & <co>"))
        same = self.api("PUT", path, {"name": "n", "owner": "ada & <co>"})
        self.assertEqual((same.status, same.headers["ETag"]), (200, made.headers["ETag"]))
        changed = self.api("PUT", path, {"name": "m"}, headers={"If-Match": made.headers["ETag"]})
        self.assertEqual(changed.status, 200)
        stale = self.api("PUT", path, {"name": "z"}, headers={"If-Match": made.headers["ETag"]})
        self.assertEqual(stale.status, 412)
        self.assertEqual(self.api("PUT", path, {}, headers={"If-None-Match": "*"}).status, 412)
        self.assertEqual(self.api("DELETE", path, headers={"If-Match": '"999"'}).status, 412)
        self.assertEqual(self.api("DELETE", path).status, 204)
        self.assertEqual(self.api("DELETE", path).status, 404)

    def test_bad_bodies(self):
        path = "/inventory/devices/BAD01"
        cases = {
            "empty": (b"", 400), "truncated": (b'{"name":', 400), "array": (b"[]", 400),
            "number": (b'{"name":5}', 400), "unknown member": (b'{"nmae":"x"}', 400),
            "duplicate member": (b'{"name":"a","name":"b"}', 400), "NUL": (b'{"name":"a\\u0000"}', 400),
            "not UTF-8": (b'{"name":"\xff"}', 400), "trailing": (b"{} {}", 400),
            "deep": (b'{"name":' + b"[" * 40 + b"]" * 40 + b"}", 413),
            "other serial": (b'{"serial":"OTHER"}', 400),
            "long member": (json.dumps({"name": "x" * 257}).encode(), 400),
            "limit + 1": (b'{"name":"' + b"x" * (1 << 20) + b'"}', 413),
        }
        for name, (body, status) in cases.items():
            with self.subTest(name):
                answer = self.api("PUT", path, body, content_type="application/json")
                self.assertEqual(answer.status, status, answer)
                self.assertTrue(answer.json["detail"])
        self.assertEqual(self.api("PUT", path, b"{}", content_type="text/plain").status, 415)
        self.assertEqual(self.api("GET", path).status, 404)
        fits = json.dumps({"name": "x" * 256}).encode()
        self.assertEqual(self.api("PUT", path, fits, content_type="application/json").status, 201)
        for serial in ("%20", "a%2Fb", "a" * 65, "a%00", "%FF"):
            answer = self.api("PUT", f"/inventory/devices/{serial}", {})
            self.assertIn(answer.status, (400, 404), serial)

    def test_import(self):
        def load(text):
            return self.api("POST", "/inventory/import", text.encode(), content_type="text/csv")

        answer = load('serial,owner\r\nCSV01,"a ""q"", b"\r\nCSV02,c\r\n')
        self.assertEqual((answer.status, answer.json["created"]), (200, 2))
        self.assertEqual(self.api("GET", "/inventory/devices/CSV01").json["owner"], 'a "q", b')
        self.assertEqual(load('serial,owner\nCSV01,"a ""q"", b"\n').json,
                         {"created": 0, "changed": 0, "unchanged": 1})
        for bad, line in (("", ""), ("owner\nx\n", "1"), ("serial\nOK1\n\"open\n", "3"),
                          ("serial\nOK1\nbad serial\n", "3"), ("serial\nTWICE\nTWICE\n", "3")):
            with self.subTest(bad):
                answer = load(bad)
                self.assertEqual(answer.status, 400, answer)
                self.assertIn(line, answer.json["detail"])
        self.assertEqual(self.api("GET", "/inventory/devices/OK1").status, 404)

    def test_pages(self):
        for i in range(7):
            self.server.put_device(f"PAGE{i}")
        seen, cursor = [], ""
        while cursor is not None:
            got = self.api("GET", f"/inventory/devices?limit=3{cursor and '&cursor=' + cursor}").json
            self.assertLessEqual(len(got["devices"]), 3)
            seen += [d["serial"] for d in got["devices"]]
            cursor = got["next_cursor"]
        self.assertEqual(seen, sorted(set(seen)))
        self.assertGreaterEqual(len(seen), 7)
        for bad in ("limit=0", "limit=1001", "limit=x", "cursor=!", "cursor="):
            self.assertEqual(self.api("GET", f"/inventory/devices?{bad}").status, 400, bad)
        self.assertEqual(self.api("GET", "/inventory/devices?limit=1000").status, 200)

    def test_invitation(self):
        self.assertEqual(self.api("POST", "/invitations", {"serial": "NOBODY"}).status, 404)
        self.server.put_device("INV01")
        made = self.api("POST", "/invitations", {"serial": "INV01", "ttl": 60})
        self.assertEqual(made.status, 201)
        svg = xml.etree.ElementTree.fromstring(made.json["qr_svg"])
        self.assertTrue(svg.tag.endswith("svg"))
        path = made.json["url"].removeprefix(self.server.public)
        first = self.server.get(self.server.public, path)
        self.assertEqual((first.status, first.headers["Content-Type"]),
                         (200, "application/x-apple-aspen-config"))
        again = self.server.get(self.server.public, path)
        self.assertEqual((again.status, again.json["reason"]), (410, "invitation-used"))
        self.assertEqual(self.server.get(self.server.public, "/enroll/" + "A" * 43).status, 404)
        self.assertEqual(self.server.get(self.server.public, "/enroll/x").status, 404)
        for ttl in (59, 90 * 86400 + 1, "60"):
            answer = self.api("POST", "/invitations", {"serial": "INV01", "ttl": ttl})
            self.assertEqual(answer.status, 400, ttl)

    def test_the_token_of_an_invitation_is_not_logged(self):
        self.server.put_device("INV02")
        url = self.server.invite("INV02")
        token = url.rsplit("/", 1)[1]
        self.server.get(self.server.public, "/enroll/" + token)
        with open(self.server.log_path, encoding="utf-8") as f:
            text = f.read()
        self.assertNotIn(token, text)
        self.assertNotIn(self.server.token, text)

    def test_commands_need_an_enrolment(self):
        self.server.put_device("CMD01")
        answer = self.api("POST", "/devices/CMD01/commands", {"request_type": "SecurityInfo"})
        self.assertEqual(answer.status, 404)
        answer = self.api("POST", "/devices/CMD01/commands", {"request_type": "NoSuchThing"})
        self.assertEqual(answer.status, 400)

    def test_ca_shows_every_trusted_root(self):
        roots = self.api("GET", "/ca").json["attestation_roots"]
        self.assertEqual([r["pinned"] for r in roots], [True, False])
        self.assertEqual(roots[0]["sha256"],
                         "ccf59ef8fcb3017d97f8b5fa6fa90e7a3f9283f76b55ac6cf6eda8b8b949f05b")

    def test_audit(self):
        self.server.put_device("AUD01")
        self.api("DELETE", "/inventory/devices/AUD01")
        rows = [r for r in self.api("GET", "/audit?limit=50").json["audit"]
                if r["subject"] == "AUD01"]
        self.assertEqual({r["actor"] for r in rows}, {"token:first administrator"})
        self.assertTrue({"inventory.delete", "certificates.revoke"} <= {r["action"] for r in rows})

    def test_metrics(self):
        text = self.server.get(self.server.status, "/metrics").body.decode()
        self.assertRegex(text, r"testudo_http_requests_total \d+")
        self.assertEqual(self.server.get(self.server.public, "/metrics").status, 401)


if __name__ == "__main__":
    unittest.main()
