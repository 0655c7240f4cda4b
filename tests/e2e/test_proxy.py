"""Behind a reverse proxy: the Client-Cert header (RFC 9440) is believed on the proxy's socket alone."""
import base64
import http.client
import os
import plistlib
import socket
import ssl
import tempfile
import unittest

from testudo import Server, DEADLINE

MDM = "application/x-apple-aspen-mdm; charset=UTF-8"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(self.path)


class Proxy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sockets = tempfile.TemporaryDirectory()
        cls.path = os.path.join(cls.sockets.name, "proxy.sock")
        cls.server = Server(**{"proxy-address": "unix:" + cls.path})
        cls.server.init()
        cls.server.start()
        cls.server.fleet(1, None, "--prefix", "PRX")
        cls.cert = cls.server.certificates("PRX0000001")[0]
        cls.der = ssl.PEM_cert_to_DER_cert(cls.cert["pem"])
        cls.udid = cls.server.api("GET", "/api/v1/devices/PRX0000001").json["enrollment"]["udid"]

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)
        cls.sockets.cleanup()

    def idle(self, values):
        c = UnixConnection(self.path)
        c.putrequest("PUT", "/mdm/connect")
        body = plistlib.dumps({"Status": "Idle", "UDID": self.udid})
        for name, value in [("Content-Type", MDM), ("Content-Length", str(len(body))), *values]:
            c.putheader(name, value)
        c.endheaders(body)
        answer = c.getresponse()
        answer.read()
        return answer.status

    def field(self, der=None):
        return ":" + base64.b64encode(der or self.der).decode() + ":"

    def test_believed_on_the_socket(self):
        self.assertEqual(self.idle([("Client-Cert", self.field())]), 200)

    def test_refused(self):
        for values in ([], [("Client-Cert", "")], [("Client-Cert", "::")],
                       [("Client-Cert", self.field()[:-1])],
                       [("Client-Cert", self.field()), ("Client-Cert", self.field())],
                       [("Client-Cert", self.field(self.der[:-5]))],
                       [("Client-Cert", self.field(self.der + b"x"))]):
            with self.subTest(values):
                self.assertIn(self.idle(values), (400, 403))

    def test_ignored_elsewhere(self):
        body = plistlib.dumps({"Status": "Idle", "UDID": self.udid})
        for base in (self.server.device, self.server.public):
            answer = self.server.request(base, "PUT", "/mdm/connect", body,
                                         {"Content-Type": MDM, "Client-Cert": self.field()})
            self.assertEqual(answer.status, 400, answer)


if __name__ == "__main__":
    unittest.main()
