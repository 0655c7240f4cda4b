"""FreeRADIUS: EAP-TLS with OCSP (POST, nonce, no soft failure), asked by eapol_test."""
import os
import subprocess
import unittest

from relying import Relying, find, run, tool
from testudo import DEADLINE, free_ports, wait_for

CONF = """
prefix = /usr
name = freeradius
raddbdir = {dir}
logdir = {dir}
run_dir = {dir}
db_dir = {dir}
libdir = /usr/lib/freeradius
pidfile = {dir}/pid
max_request_time = 30
cleanup_delay = 1
max_requests = 1024
hostname_lookups = no
log {{
    destination = stdout
    colourise = no
}}
security {{
    allow_core_dumps = no
    max_attributes = 200
    reject_delay = 0
    status_server = no
}}
client localhost {{
    ipaddr = 127.0.0.1
    secret = testing123
}}
thread pool {{
    start_servers = 2
    max_servers = 4
    min_spare_servers = 1
    max_spare_servers = 2
}}
modules {{
    eap {{
        default_eap_type = tls
        timer_expire = 60
        max_sessions = 1024
        tls-config common {{
            private_key_file = {key}
            certificate_file = {chain}
            ca_file = {bundle}
            cipher_list = "DEFAULT"
            tls_min_version = "1.2"
            tls_max_version = "1.3"
            cache {{
                enable = no
            }}
            ocsp {{
                enable = yes
                override_cert_url = no
                url = "http://127.0.0.1:1/unused"
                use_nonce = yes
                timeout = 3
                softfail = no
            }}
        }}
        tls {{
            tls = common
        }}
    }}
}}
server default {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {port}
    }}
    authorize {{
        eap
    }}
    authenticate {{
        eap
    }}
}}
"""


@tool("freeradius")
@tool("eapol_test")
class FreeRadius(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.relying = r = Relying("RAD", 4)
        cls.addClassCleanup(r.close)
        cls.port = free_ports(1)[0]
        cls.dir = os.path.join(r.server.dir, "raddb")
        os.mkdir(cls.dir)
        with open(os.path.join(cls.dir, "radiusd.conf"), "w", encoding="ascii") as f:
            f.write(CONF.format(dir=cls.dir, key=r.key, chain=r.chain, bundle=r.bundle, port=cls.port))
        with open(os.path.join(cls.dir, "dictionary"), "w", encoding="ascii") as f:
            f.write("$INCLUDE /usr/share/freeradius/dictionary\n")
        cls.log_path = os.path.join(cls.dir, "log")
        cls.log = open(cls.log_path, "wb")
        cls.radius = subprocess.Popen(
            [find("freeradius"), "-d", cls.dir, "-D", "/usr/share/freeradius", "-n", "radiusd",
             "-fxx", "-l", "stdout"], stdin=subprocess.DEVNULL, stdout=cls.log, stderr=cls.log)
        cls.addClassCleanup(cls.end)

        def ready():
            assert cls.radius.poll() is None, cls.tail()
            return "Ready to process requests" in cls.tail()
        wait_for("FreeRADIUS is ready", ready)

    @classmethod
    def end(cls):
        cls.radius.terminate()
        cls.radius.wait(DEADLINE)
        cls.log.close()

    @classmethod
    def tail(cls, n=20000):
        with open(cls.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()[-n:]

    def eap(self, n):
        """0 when the device is let in."""
        r = self.relying
        conf = r.file(f"eap{n}.conf", f"""network={{
 ssid="x"
 key_mgmt=WPA-EAP
 eap=TLS
 identity="host/{r.serial(n)}"
 ca_cert="{r.server.root}"
 client_cert="{r.identity(n)}"
 private_key="{r.identity(n)}"
 domain_match="localhost"
}}
""".encode())
        done = run("eapol_test", "-c", conf, "-a", "127.0.0.1", "-p", self.port, "-s", "testing123",
                   "-t", "20", check=False)
        return done.returncode

    def accepted(self, n):
        return self.eap(n) == 0

    def test_1_good_held_released_revoked(self):
        self.assertTrue(self.accepted(1), self.tail(6000))
        self.relying.hold(1)
        self.assertFalse(self.accepted(1))
        self.assertIn("certificateHold", self.tail())
        self.relying.release(1)
        self.assertTrue(self.accepted(1), self.tail(6000))
        self.relying.revoke(1, "keyCompromise")
        self.assertFalse(self.accepted(1))
        self.assertIn("keyCompromise", self.tail())

    def test_2_time_to_deny(self):
        self.relying.time_to_deny(2, "FreeRADIUS (EAP-TLS, OCSP)", self.accepted)
        self.assertTrue(self.accepted(3), "another device's certificate goes on")

    def test_3_responder_down(self):
        """It fails closed."""
        self.relying.down()
        self.assertFalse(self.accepted(3))
        self.assertIn("Couldn't get OCSP response", self.tail())


if __name__ == "__main__":
    unittest.main()
