"""Foreign ACME clients against our directory, as far as they go without an Apple device: certbot's
library (python3-acme) and dehydrated."""
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from testudo import Server, run

HERE = os.path.dirname(os.path.abspath(__file__))


def python_with_acme():
    """An interpreter that has the library; Debian's own, as a rule."""
    for path in ("/usr/bin/python3", shutil.which("python3")):
        if path and subprocess.run([path, "-c", "import acme.client, OpenSSL"],
                                   capture_output=True).returncode == 0:
            return path
    return None


PYTHON = python_with_acme()


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.server.init()
        cls.server.start()
        summary = cls.server.fleet(3, None, "--prefix", "CLI")
        assert summary["enrolled"] == 3, summary
        cls.directory = cls.server.public + "/acme/management/directory"

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def eab(self):
        got = self.server.api("POST", "/api/v1/eab-keys", {"name": "interop"})
        self.assertEqual(got.status, 201)
        return got.json

    def identifier(self, serial):
        url = self.server.invite(serial)
        body = self.server.get(self.server.public, url[len(self.server.public):]).body
        return re.search(rb"<key>ClientIdentifier</key>\s*<string>([^<]+)", body).group(1).decode()

    @unittest.skipUnless(PYTHON, "python3-acme is not installed")
    def test_certbots_library(self):
        for i, alg in enumerate(("RS256", "ES256", "ES384")):
            with self.subTest(alg):
                serial, key = f"CLI000000{i + 1}", self.eab()
                pem = self.server.identity(serial)
                done = run(PYTHON, os.path.join(HERE, "acme_foreign.py"), self.directory,
                           self.server.root, alg, key["id"], key["hmac_key"],
                           self.identifier(serial), pem, pem)
                out = json.loads(done.stdout)
                self.assertEqual(out, {
                    "eab_required": False, "account": out["account"],
                    "contact": ["mailto:one@example.test"], "again": "conflict " + out["account"],
                    "status": "valid", "updated": ["mailto:two@example.test"],
                    "bad_contact": "unsupportedContact", "old_key": "accountDoesNotExist",
                    "new_key": "valid", "dns": "unsupportedIdentifier",
                    "order": "Status(pending)", "listed": True, "authz": "Status(pending)",
                    "challenges": 1, "deactivated": "deactivated",
                    "revoke_foreign": "unauthorized", "revoke_reason": "badRevocationReason",
                    "revoke": None, "revoke_again": "alreadyRevoked",
                    "unregistered": "deactivated", "behind": "unauthorized"})
                listed, = [k for k in self.server.api("GET", "/api/v1/eab-keys").json["eab_keys"]
                           if k["id"] == key["id"]]
                self.assertTrue(out["account"].endswith("/" + listed["account"]))
                self.assertEqual(self.server.certificates(serial)[0]["status"], "revoked")

    @unittest.skipUnless(shutil.which("dehydrated"), "dehydrated is not installed")
    def test_dehydrated(self):
        """Registers with a binding, changes its contact, and is told what is wrong with a name."""
        key, folder = self.eab(), tempfile.mkdtemp(prefix="testudo-dehydrated-")
        self.addCleanup(shutil.rmtree, folder)
        config = os.path.join(folder, "config")
        with open(config, "w", encoding="ascii") as f:
            f.write(f"CA={self.directory}\nBASEDIR={folder}\nWELLKNOWN={folder}\n"
                    f"EAB_KID={key['id']}\nEAB_HMAC_KEY={key['hmac_key']}\n"
                    f"CURL_OPTS='--cacert {self.server.root}'\nCONTACT_EMAIL=a@example.test\n"
                    "IP_VERSION=4\nCHALLENGETYPE=http-01\n")
        done = run("dehydrated", "--config", config, "--register", "--accept-terms")
        self.assertIn("Done!", done.stdout)
        with open(config, "a", encoding="ascii") as f:
            f.write("CONTACT_EMAIL=b@example.test\n")
        done = run("dehydrated", "--config", config, "--account")
        self.assertIn("Done!", done.stdout)
        done = run("dehydrated", "--config", config, "--cron", "--domain", "a.example", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("unsupportedIdentifier", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
