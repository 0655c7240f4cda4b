"""testudo init, the configuration, and what a newcomer gets wrong."""
import os
import shutil
import stat
import tempfile
import unittest

from testudo import Server, program, run


class Init(unittest.TestCase):
    def setUp(self):
        self.server = Server()

    def tearDown(self):
        shutil.rmtree(self.server.dir, ignore_errors=True)

    def test_creates_private_files(self):
        s = self.server.init(attestation=False)
        database = [] if s.database_name else ["testudo.db"]
        for name in ("ca/root.key", "ca/issuing.key", "tls/server.key", "testudo.ini",
                     "seal.key", "admin.token", *database):
            mode = stat.S_IMODE(os.stat(os.path.join(s.dir, name)).st_mode)
            self.assertEqual(mode, 0o600, name)
        self.assertRegex(s.token, r"^td_[A-Za-z0-9_-]{43}$")

    def test_twice_destroys_nothing(self):
        s = self.server.init(attestation=False)
        kept = {}
        for base, _, files in os.walk(s.dir):
            for f in files:
                if not f.startswith("testudo.db"):
                    with open(os.path.join(base, f), "rb") as h:
                        kept[os.path.join(base, f)] = h.read()
        done = run(program("testudo"), "init", f"--dir={s.dir}")
        self.assertIn("exists", done.stdout)
        for path, content in kept.items():
            with open(path, "rb") as h:
                self.assertEqual(h.read(), content, path)

    def test_chain(self):
        s = self.server.init(attestation=False)
        ca = os.path.join(s.dir, "ca")
        run("openssl", "verify", "-x509_strict", "-CAfile", s.root, "-untrusted",
            os.path.join(ca, "issuing.crt"), os.path.join(s.dir, "tls/server.crt"))

    def test_wrong_settings_are_named(self):
        s = self.server
        cases = {
            ("config", "check", "--server-public_url=http://x"): "https://",
            ("config", "check", "--server-workers=0"): "workers",
            ("config", "check", "--server-nonsense=1"): "nonsense",
            ("config", "check", "--config=/nonexistent.ini"): "/nonexistent.ini",
            ("init",): "--dir",
        }
        for argv, word in cases.items():
            with self.subTest(argv):
                done = run(program("testudo"), *argv, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(word, done.stderr)

    def test_config_show_round_trip(self):
        s = self.server.init(attestation=False)
        shown = run(program("testudo"), "config", "show", f"--config={s.ini}").stdout
        with tempfile.NamedTemporaryFile("w", suffix=".ini") as again:
            again.write(shown)
            again.flush()
            self.assertEqual(run(program("testudo"), "config", "show",
                                 f"--config={again.name}").stdout, shown)

    def test_encrypted_keys(self):
        """Keys under a passphrase: the server starts with the file and says why without it."""
        s = self.server
        secret = os.path.join(s.dir, "passphrase")
        with open(secret, "w", encoding="ascii") as f:
            f.write("correct horse\n")
        s.settings["ca-passphrase_file"] = secret
        s.init(attestation=False)
        with open(os.path.join(s.dir, "ca/issuing.key"), encoding="ascii") as f:
            self.assertIn("ENCRYPTED", f.read())
        s.start()
        s.stop()
        with open(secret, "w", encoding="ascii") as f:
            f.write("wrong\n")
        done = run(program("testudo"), "serve", f"--config={s.ini}", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("passphrase", (done.stderr + done.stdout).lower())

    def test_partial_ca_is_refused(self):
        s = self.server.init(attestation=False)
        os.unlink(os.path.join(s.dir, "ca/issuing.key"))
        done = run(program("testudo"), "init", f"--dir={s.dir}", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("issuing.key", done.stderr + done.stdout)


if __name__ == "__main__":
    unittest.main()
