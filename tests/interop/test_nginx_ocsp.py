"""nginx: mTLS that asks OCSP (GET, HTTP/1.0, escapes), and nginx with the exported CRL file."""
import os
import signal
import subprocess
import unittest

from relying import Relying, find, read, run, tool
from testudo import DEADLINE, free_ports, wait_for

SITE = """
server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_client_certificate {bundle};
    ssl_verify_client on;
    ssl_verify_depth 2;
    ssl_session_tickets off;
    {check}
    location / {{ return 200 "$ssl_client_verify $ssl_client_s_dn\\n"; }}
}}
"""


@tool("nginx")
@tool("curl")
class NginxOcsp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.relying = r = Relying("NGO", 6)
        cls.addClassCleanup(r.close)
        cls.ocsp_port, cls.crl_port = free_ports(2)
        cls.dir = os.path.join(r.server.dir, "nginx")
        os.mkdir(cls.dir)
        cls.crl = r.file("crl.pem", r.server.get(r.status, "/crl/all.pem").body)
        sites = "".join(SITE.format(port=port, chain=r.chain, key=r.key, bundle=r.bundle, check=check)
                        for port, check in ((cls.ocsp_port, "ssl_ocsp leaf;"),
                                            (cls.crl_port, f"ssl_crl {cls.crl};")))
        conf = os.path.join(cls.dir, "nginx.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(f"daemon off; pid {cls.dir}/pid; error_log {cls.dir}/error.log info; user root;\n"
                    "events { worker_connections 64; }\n"
                    f"http {{ access_log off; client_body_temp_path {cls.dir}/body;\n"
                    f"proxy_temp_path {cls.dir}/proxy; fastcgi_temp_path {cls.dir}/f;\n"
                    f"uwsgi_temp_path {cls.dir}/u; scgi_temp_path {cls.dir}/s;\n{sites}\n}}\n")
        cls.nginx = subprocess.Popen([find("nginx"), "-c", conf, "-e", f"{cls.dir}/error.log"],
                                     stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(cls.end)

        def ready():
            assert cls.nginx.poll() is None, cls.tail()
            return os.path.exists(f"{cls.dir}/pid") and cls.ask(1, cls.crl_port)[0] == "200"
        wait_for("nginx answers", ready)

    @classmethod
    def end(cls):
        cls.nginx.terminate()
        cls.nginx.wait(DEADLINE)

    @classmethod
    def tail(cls):
        return read(f"{cls.dir}/error.log").decode(errors="replace")[-8000:]

    @classmethod
    def ask(cls, n, port):
        done = run("curl", "-sS", "-w", "%{http_code}", "--cacert", cls.relying.server.root, "--cert",
                   cls.relying.identity(n), f"https://localhost:{port}/", check=False)
        return done.stdout[-3:], done.stdout[:-3]

    def accepted(self, n):
        return self.ask(n, self.ocsp_port)[0] == "200"

    def test_1_good_held_released_revoked(self):
        status, text = self.ask(1, self.ocsp_port)
        self.assertEqual(status, "200", self.tail())
        self.assertTrue(text.startswith("SUCCESS "), text)
        self.assertIn(self.relying.serial(1), text)
        self.relying.hold(1)
        self.assertEqual(self.ask(1, self.ocsp_port)[0], "400")
        self.assertIn("certificate revoked", self.tail())
        self.relying.release(1)
        self.assertTrue(self.accepted(1), self.tail())
        self.relying.revoke(1)
        self.assertEqual(self.ask(1, self.ocsp_port)[0], "400")

    def test_2_time_to_deny(self):
        self.relying.time_to_deny(2, "nginx (mTLS, ssl_ocsp)", self.accepted)
        self.assertTrue(self.accepted(3), "another device's certificate goes on")

    def test_3_crl_file(self):
        """The bundle holds the CRL of every CA of the chain: nginx asks for all of them."""
        self.relying.hold(4)
        self.assertEqual(self.ask(4, self.crl_port)[0], "200")
        self.relying.file("crl.pem", self.relying.server.get(self.relying.status, "/crl/all.pem").body)
        self.nginx.send_signal(signal.SIGHUP)
        wait_for("nginx read the CRL", lambda: self.ask(4, self.crl_port)[0] == "400")
        self.assertIn("certificate revoked", self.tail())
        self.assertEqual(self.ask(5, self.crl_port)[0], "200")

    def test_4_responder_down(self):
        """OCSP fails closed; the file goes on."""
        self.relying.down()
        self.assertEqual(self.ask(6, self.ocsp_port)[0], "400")
        self.assertEqual(self.ask(6, self.crl_port)[0], "200")


if __name__ == "__main__":
    unittest.main()
