"""nginx in front, with the configuration we ship: TLS and possession there, judgement here."""
import os
import plistlib
import shutil
import signal
import subprocess
import tempfile
import unittest

from testudo import Server, free_ports, run, wait_for

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MDM = {"Content-Type": "application/x-apple-aspen-mdm; charset=UTF-8"}


@unittest.skipUnless(shutil.which("nginx") or os.path.exists("/usr/sbin/nginx"),
                     "nginx is not installed")
class Nginx(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="testudo-nginx-")
        path = os.path.join(cls.dir, "proxy.sock")
        cls.server = Server(**{"proxy-address": "unix:" + path})
        cls.server.init()
        cls.server.start()
        assert cls.server.fleet(2, None, "--prefix", "NGX")["enrolled"] == 2
        port = free_ports(1)[0]
        cls.front = f"https://localhost:{port}"
        with open(os.path.join(TOP, "contrib/nginx/testudo.conf"), encoding="utf-8") as f:
            text = f.read()
        tls = os.path.join(cls.server.dir, "tls")
        for old, new in (("/run/testudo/proxy.sock", path), ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
                         ("/etc/ssl/mdm.example.com.pem", f"{tls}/server.crt"),
                         ("/etc/ssl/private/mdm.example.com.key", f"{tls}/server.key"),
                         ("server_name mdm.example.com", "server_name localhost")):
            assert old in text, old
            text = text.replace(old, new)
        conf = os.path.join(cls.dir, "nginx.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(f"daemon off; pid {cls.dir}/pid; error_log {cls.dir}/error.log; user root;\n"
                    "events { worker_connections 64; }\n"
                    f"http {{ access_log off; client_body_temp_path {cls.dir}/body;\n"
                    f"proxy_temp_path {cls.dir}/proxy; fastcgi_temp_path {cls.dir}/f;\n"
                    f"uwsgi_temp_path {cls.dir}/u; scgi_temp_path {cls.dir}/s;\n{text}\n}}\n")
        cls.nginx = subprocess.Popen([shutil.which("nginx") or "/usr/sbin/nginx", "-c", conf, "-e",
                                      os.path.join(cls.dir, "error.log")],
                                     stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def answers():
            assert cls.nginx.poll() is None, open(os.path.join(cls.dir, "error.log")).read()
            try:
                return cls.server.get(cls.front, "/healthz").status == 200
            except OSError:
                return False

        wait_for("nginx answers", answers)

    @classmethod
    def tearDownClass(cls):
        cls.nginx.send_signal(signal.SIGTERM)
        cls.nginx.wait(30)
        cls.server.__exit__(None, None, None)
        shutil.rmtree(cls.dir, ignore_errors=True)

    def idle(self, serial, identity, headers=None):
        udid = self.server.udid(serial)
        context = self.server.tls(identity) if identity else None
        return self.server.request(self.front, "PUT", "/mdm/connect",
                                   plistlib.dumps({"Status": "Idle", "UDID": udid}),
                                   {**MDM, **(headers or {})}, context)

    def test_a_device_connects(self):
        answer = self.idle("NGX0000001", self.server.identity("NGX0000001"))
        self.assertEqual((answer.status, answer.body), (200, b""))

    def test_another_device_is_refused(self):
        self.assertEqual(self.idle("NGX0000001", self.server.identity("NGX0000002")).status, 403)

    def test_a_header_of_the_client_is_not_believed(self):
        field = ":" + "".join(self.server.certificates("NGX0000001")[0]["pem"].split("\n")[1:-2]) + ":"
        answer = self.idle("NGX0000001", None, {"Client-Cert": field})
        self.assertEqual(answer.status, 400)

    def test_a_foreign_certificate_is_refused(self):
        path = os.path.join(self.dir, "foreign.pem")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", "/CN=NGX0000001", "-days", "2", "-keyout", path, "-out", path + ".c")
        with open(path, "a", encoding="ascii") as f, open(path + ".c", encoding="ascii") as c:
            f.write(c.read())
        self.assertIn(self.idle("NGX0000001", path).status, (400, 403))


if __name__ == "__main__":
    unittest.main()
