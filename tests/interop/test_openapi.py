"""The description of the API: valid to a foreign eye, and what the server takes and answers is what it
says, operation by operation. That each route stands there is tests/unit/api/test_openapi.c."""
import json
import os
import shutil
import subprocess
import unittest

from testudo import Server, run, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
DOCUMENT = os.path.join(HERE, "..", "..", "contrib", "doc", "openapi.json")
SPECIFICATION = "/usr/share/openapi-specification/schemas/v3.0/schema.json"
PLIST = """<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict><key>RequestType</key><string>SecurityInfo</string></dict></plist>"""

NAMED = PLIST.replace("<dict>", "<dict><key>CommandUUID</key><string>5A3B0C52-7D4E-4F0A-9B1C-0123456789AB</string>"
                      "<key>Command</key><dict>").replace("</dict>", "</dict></dict>")


def python_with_jsonschema():
    for path in ("/usr/bin/python3", shutil.which("python3")):
        if path and subprocess.run([path, "-c", "import jsonschema"],
                                   capture_output=True).returncode == 0:
            return path
    return None


PYTHON = python_with_jsonschema()


class Recorder:
    """Calls operations by their names and keeps what was said."""

    def __init__(self, server, document):
        self.server, self.seen = server, []
        self.operations = {item[method]["operationId"]: (method.upper(), path)
                           for path, item in document["paths"].items() for method in item}

    def __call__(self, status, operation, *params, body=None, query="", **more):
        method, path = self.operations[operation]
        for value in params:
            head, _, tail = path.partition("{")
            path = head + value + tail.partition("}")[2]
        answer = self.server.api(method, "/api/v1" + path + query, body, **more)
        assert answer.status == status, (operation, answer)
        told = json.loads(answer.body) if answer.body else None
        self.seen.append({"operation": operation, "status": status,
                          "request": body if isinstance(body, dict) else None, "response": told})
        return told


@unittest.skipUnless(PYTHON and os.path.exists(SPECIFICATION),
                     "the packages python3-jsonschema and openapi-specification")
class Description(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(DOCUMENT, encoding="utf-8") as f:
            cls.document = json.load(f)
        cls.s = Server().__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.s.__exit__(None, None, None)

    def judge(self, document, seen):
        files = []
        for name, value in (("document.json", document), ("seen.json", seen)):
            files.append(os.path.join(self.s.dir, name))
            with open(files[-1], "w", encoding="utf-8") as f:
                json.dump(value, f)
        return run(PYTHON, os.path.join(HERE, "openapi_foreign.py"), *files, check=False).stdout

    def test_all_operations(self):
        self.s.fleet(2)
        call = Recorder(self.s, self.document)
        first, second = sorted(f[:-7] for f in os.listdir(self.s.fleet_dir)
                               if f.endswith(".device"))
        self.inventory(call)
        self.devices(call, first)
        self.certificates(call, first)
        self.access(call, second)
        self.posture(call, second)
        self.administration(call)
        self.webhooks(call)
        self.assertEqual(call(200, "getOpenapi", token=""), self.document)
        self.assertEqual(self.judge(self.document, call.seen), "")

    def inventory(self, call):
        device = {"name": "Ada's Mac", "model": "MacBookAir10,1", "owner": "ada", "groups": ["it"]}
        call(201, "putInventoryDevice", "OPENAPI1", body=device)
        call(200, "putInventoryDevice", "OPENAPI1", body={"name": "x"})
        call(200, "getInventoryDevice", "OPENAPI1")
        call(200, "listInventory")
        assert call(200, "listInventory", query="?limit=1")["next_cursor"]
        call(400, "listInventory", query="?limit=x")
        call(200, "importInventory", body="serial,name\nOPENAPI2,y\n", content_type="text/csv")
        call(400, "importInventory", body="nonsense\n", content_type="text/csv")
        call(415, "putInventoryDevice", "OPENAPI1", body="{}", content_type="text/plain")
        call(412, "putInventoryDevice", "OPENAPI1", body=device, headers={"If-Match": '"99"'})
        call(400, "putInventoryDevice", "OPENAPI1", body={"unknown": "x"})
        call(404, "getInventoryDevice", "NOWHERE1")
        call(401, "getInventoryDevice", "OPENAPI1", token="")
        call(201, "createInvitation", body={"serial": "OPENAPI1", "ttl": 60})
        call(404, "createInvitation", body={"serial": "NOWHERE1"})
        call(204, "deleteInventoryDevice", "OPENAPI2")

    def devices(self, call, serial):
        call(200, "listDevices")
        call(200, "getDevice", serial)
        assert call(200, "getDevice", "OPENAPI1")["enrollment"] is None
        assert call(200, "listDeviceEvidence", serial)["evidence"]
        assert call(200, "listDeviceAttempts", serial)["attempts"]
        call(200, "listAttempts", query="?limit=1")
        typed = {"request_type": "DeviceInformation", "queries": ["OSVersion"]}
        uuid = call(201, "queueCommand", serial, body=typed)["uuid"]
        call(201, "queueCommand", serial, body=PLIST, content_type="application/xml")
        for members in ({"request_type": "SecurityInfo"},
                        {"request_type": "ProfileList", "managed_only": True},
                        {"request_type": "CertificateList"},
                        {"request_type": "RemoveProfile", "identifier": "com.example.x"}):
            call(201, "queueCommand", serial, body=members)
        call(400, "queueCommand", serial, body={"request_type": "DeviceInformation"})
        assert call(200, "getCommand", serial, uuid)["result"] is None
        self.s.connect("--serial", serial)
        assert call(200, "getCommand", serial, uuid, query="?raw=1")["result_raw"]
        call(200, "listCommands", serial)
        call(404, "getCommand", serial, "00000000-0000-0000-0000-000000000000")
        call(404, "queueCommand", "OPENAPI1", body=typed)
        for status in (201, 409):
            call(status, "queueCommand", serial, body=NAMED, content_type="text/xml")

    def certificates(self, call, serial):
        one = call(200, "listDeviceCertificates", serial)["certificates"][0]["serial"]
        call(200, "listCertificates", query=f"?device={serial}&status=good")
        call(200, "listCertificates", query="?limit=1")
        call(200, "getCertificate", one)
        call(200, "holdCertificate", one, body={})
        call(200, "releaseCertificate", one)
        call(412, "holdCertificate", one, headers={"If-Match": '"99"'})
        call(200, "holdDevice", serial)
        call(200, "releaseDevice", serial, body={})
        call(200, "revokeCertificate", one, body={"reason": "superseded"})
        call(409, "revokeCertificate", one, body={"reason": "keyCompromise"})
        call(404, "getCertificate", "00")
        call(200, "getCa")

    def access(self, call, serial):
        call(200, "listProfiles")
        call(200, "getProfile", "access")
        call(404, "getProfile", "nothing")
        policy = {"enabled": True, "eab_required": False, "groups": [], "platforms": ["macos"],
                  "min_os": {"macos": "11.0"}}
        call(200, "putProfilePolicy", "access", body=policy)
        call(200, "putProfilePolicy", "access", body={})
        wifi = {"ssid": "office", "server_names": ["radius.example.com"]}
        call(201, "assignAccess", serial, body={"profile": "access", "wifi": wifi})
        assert call(200, "listAccess", serial)["profiles"]
        call(204, "removeAccess", serial, "access")

    def posture(self, call, serial):
        rule = {"description": "d", "message": "m", "fact": "os_version", "op": ">=", "value": "11",
                "platforms": ["ios"], "groups": [], "attested": False, "max_age": 0,
                "unknown": "fail", "confirm": 1, "grace": 60, "revoke_after": 0, "enforce": False,
                "enabled": True}
        call(200, "listPostureFacts")
        call(201, "putPostureRule", "os", body=rule)
        call(200, "putPostureRule", "os", body=rule)
        call(201, "putPostureRule", "edr", body={"fact": "external.edr", "value": True})
        call(201, "putPostureRule", "build", body={"fact": "build", "op": "in", "value": ["A", "B"]})
        call(400, "putPostureRule", "os", body={"fact": "nothing", "value": True})
        call(412, "putPostureRule", "os", body=rule, headers={"If-Match": '"9"'})
        call(200, "getPostureRule", "build")
        call(404, "getPostureRule", "none")
        call(200, "listPostureRules")
        call(204, "putDeviceFact", serial, "external.edr", body={"value": False})
        assert call(200, "getDevicePosture", serial)["state"] == "held"
        call(404, "getDevicePosture", "NOWHERE1")
        assert call(200, "listPostureRuleDevices", "edr")["devices"] == [serial]
        assert call(200, "listPostureDevices", query="?state=held&limit=1")["next_cursor"]
        call(200, "exemptDevice", serial, body={"seconds": 60})
        call(400, "exemptDevice", serial, body={"seconds": 0})
        call(200, "endExemption", serial)
        call(200, "refreshDevicePosture", serial)
        call(409, "refreshDevicePosture", "OPENAPI1", body={})
        call(204, "deleteDeviceFact", serial, "external.edr")
        call(404, "deleteDeviceFact", serial, "external.edr")
        call(204, "deletePostureRule", "edr")
        call(404, "deletePostureRule", "edr")

    def administration(self, call):
        made = call(201, "createToken", body={"name": "t", "scopes": "devices:read", "ttl": 60})
        call(201, "createToken", body={"name": "u", "scopes": "tokens"})
        call(400, "createToken", body={"scopes": "tokens"})
        call(200, "listTokens")
        call(403, "listAudit", token=made["token"])
        call(204, "deleteToken", made["id"])
        key = call(201, "createEabKey", body={"name": "lab", "profile": "access", "ttl": 600})
        call(201, "createEabKey", body={})
        call(200, "listEabKeys")
        call(204, "deleteEabKey", key["id"])
        assert call(200, "listAudit")["audit"]

    def webhooks(self, call):
        url = "https://hooks.example.com/x"
        hook = call(201, "createWebhook", body={"name": "h", "url": url, "events": ["device.left"]})
        call(400, "createWebhook", body={"url": "nowhere"})
        call(200, "listWebhooks")
        call(200, "getWebhook", hook["id"])
        call(200, "renewWebhookSecret", hook["id"])
        call(200, "renewWebhookSecret", hook["id"], body={"overlap": 60})
        call(202, "testWebhook", hook["id"])
        wait_for("a failed delivery", lambda: self.s.api(
            "GET", f"/api/v1/webhooks/{hook['id']}").json["failing_since"])
        call(200, "getWebhook", hook["id"])
        call(200, "putWebhook", hook["id"], body={"url": url, "enabled": False})
        call(409, "testWebhook", hook["id"])
        call(204, "deleteWebhook", hook["id"])

    def test_faults_are_found(self):
        """Each fault put in is named: the judge can say no."""
        good = json.dumps(self.document)
        seen = [{"operation": "getDevice", "status": 200, "request": None,
                 "response": {"serial": "A", "extra": 1}}]
        cases = ((good.replace('"in": "query"', '"in": "nowhere"', 1), [], "structure: "),
                 (good.replace('"/devices/{serial}"', '"/devices/{number}"'), [],
                  "parameters ['serial'] of /devices/{number}"),
                 (good.replace('"#/components/schemas/Ca"', '"#/components/schemas/Cb"'), [],
                  "schemas/Cb is nowhere"),
                 (good, [], "getDevice 200 was not seen"),
                 (good, seen, "getDevice 200: : Additional properties are not allowed ('extra'"),
                 (good, seen, "'listed' is a required property"))
        for text, exchanges, says in cases:
            with self.subTest(says):
                self.assertIn(says, self.judge(json.loads(text), exchanges))


if __name__ == "__main__":
    unittest.main()
