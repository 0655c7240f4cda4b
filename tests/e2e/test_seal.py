"""Secrets in the database are sealed: what lies there opens nothing, the key file does, and a server
without the right one does not start."""
import base64
import os
import secrets
import shutil
import stat
import tempfile
import unittest

from test_acme import Client, check_problem
from test_acme_rfc8555 import bound
from testudo import Server, program, run


class Seal(unittest.TestCase):
    def setUp(self):
        self.server = Server().init().start()
        self.tmp = tempfile.mkdtemp(prefix="testudo-seal-")
        self.file = os.path.join(self.server.dir, "seal.key")

    def tearDown(self):
        self.server.__exit__(None, None, None)
        shutil.rmtree(self.tmp, ignore_errors=True)

    def restart(self):
        self.assertEqual(self.server.stop(), 0)
        self.server.start()

    def key(self):
        got = self.server.api("POST", "/api/v1/eab-keys", {"ttl": 3600})
        self.assertEqual(got.status, 201, got)
        return got.json

    def bind(self, key, secret=None):
        c = Client(self.server, self.tmp)
        url = c.urls["newAccount"]
        return c.post(url, {"externalAccountBinding": bound(secret or key["hmac_key"], key["id"],
                                                            url, c.jwk())})

    def row(self, key):
        db = self.server.database()
        try:
            return db.execute("SELECT secret FROM eab_keys WHERE id = ?", (key["id"],)).fetchone()[0]
        finally:
            db.close()

    def put(self, key, secret):
        db = self.server.database()
        db.execute("UPDATE eab_keys SET secret = ? WHERE id = ?", (secret, key["id"]))
        db.close()

    def refuses_to_start(self, word):
        done = run(program("testudo"), "serve", f"--config={self.server.ini}", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(word, done.stderr)

    def test_what_lies_in_the_database(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
        self.assertIn(self.file, self.server.init_output)
        key, other = self.key(), self.key()
        secret = base64.urlsafe_b64decode(key["hmac_key"] + "=")
        self.assertEqual(len(secret), 32)
        for k in (key, other):
            self.assertEqual(len(self.row(k)), 32 + 37)
        self.assertNotIn(secret, self.row(key))
        # of another row, and changed: a fault of the server's, not of the client's
        self.put(key, self.row(other))
        check_problem(self.bind(key), 503, "serverInternal")
        check_problem(self.bind(key, other["hmac_key"]), 503, "serverInternal")
        self.assertEqual(self.server.tail().count("reason=seal-broken"), 2)
        self.put(key, secret)  # in clear: nothing is believed that is not sealed
        check_problem(self.bind(key), 503, "serverInternal")
        self.assertIn("reason=seal-malformed", self.server.tail())
        self.assertEqual(self.bind(other).status, 201)
        self.assertIsNone(self.row(other))

    def test_rows_of_an_older_testudo(self):
        key = self.key()
        secret = base64.urlsafe_b64decode(key["hmac_key"] + "=")
        self.put(key, secret)
        self.restart()
        self.assertIn("event=seal.renewed purpose=eab count=1", self.server.tail())
        self.assertEqual(len(self.row(key)), 32 + 37)
        self.assertEqual(self.bind(key).status, 201)
        self.restart()
        self.assertEqual(self.server.tail(1000).count("seal.renewed"), 1)

    def test_key_file(self):
        key = self.key()
        with open(self.file, encoding="ascii") as f:
            old = f.read()
        fresh = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        self.server.stop()
        os.unlink(self.file)
        self.refuses_to_start("copy the file from another node or the backup")
        self.assertNotEqual(run(program("testudo"), "init", f"--dir={self.server.dir}",
                                check=False).returncode, 0)
        self.assertFalse(os.path.exists(self.file))
        self.write(fresh + "\n")
        self.refuses_to_start("copy the file from another node or the backup")
        self.write(fresh + "\n" + old, 0o640)
        self.refuses_to_start("chmod 600")
        # rotation: the new key in front, the old one goes when the secrets are sealed anew
        self.write(fresh + "\n" + old)
        before = self.row(key)
        self.server.start()
        self.assertNotEqual(self.row(key), before)
        self.server.stop()
        self.write(fresh + "\n")
        self.server.start()
        self.assertEqual(self.bind(key).status, 201)

    def write(self, text, mode=0o600):
        with open(self.file, "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(self.file, mode)


if __name__ == "__main__":
    unittest.main()
