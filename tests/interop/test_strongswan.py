"""strongSwan: pki --verify --online, which asks OCSP, and without a responder fetches the CRL."""
import unittest

from relying import Relying, run, tool


@tool("pki")
class StrongSwan(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.relying = Relying("SWN", 5)
        cls.addClassCleanup(cls.relying.close)
        cls.certs = {n: cls.relying.cert(n) for n in range(1, 6)}

    def verify(self, n):
        r = self.relying
        done = run("pki", "--verify", "--in", self.certs[n], "--cacert", r.server.root, "--cacert",
                   r.issuing, "--online", check=False)
        return done.returncode, done.stdout + done.stderr

    def test_1_good(self):
        status, text = self.verify(1)
        self.assertEqual(status, 0, text)
        self.assertIn("ocsp response is valid", text)
        self.assertIn("certificate status is good", text)

    def test_2_held_and_released(self):
        self.relying.hold(2)
        status, text = self.verify(2)
        self.assertNotEqual(status, 0, text)
        self.assertIn("certificate hold", text)
        self.relying.release(2)
        status, text = self.verify(2)
        self.assertEqual(status, 0, text)

    def test_3_revoked(self):
        self.relying.leave(3)
        status, text = self.verify(3)
        self.assertNotEqual(status, 0, text)
        self.assertIn("certificate was revoked", text)
        self.assertIn("cessation of operation", text)

    def test_4_crl_alone(self):
        """No responder: it takes the CRL that the certificate names, with its critical IDP."""
        self.relying.hold(4)
        points = self.relying.points()
        self.relying.down()
        stand_in = self.relying.serve(points)
        try:
            status, text = self.verify(5)
            self.assertEqual(status, 0, text)
            self.assertIn("crl is valid", text)
            status, text = self.verify(4)
            self.assertNotEqual(status, 0, text)
            self.assertIn("certificate hold", text)
        finally:
            stand_in.shutdown()
            stand_in.server_close()

    def test_5_all_down(self):
        """strongSwan is lenient then unless told otherwise: it says that it does not know."""
        status, text = self.verify(5)
        self.assertIn("certificate status is not available", text)
        self.assertEqual(status, 0, text)


if __name__ == "__main__":
    unittest.main()
