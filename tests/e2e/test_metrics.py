"""/metrics: every figure is documented, and those of certificates, renewals and CRLs are right."""
import os
import re
import time
import unittest

from testudo import Server, wait_for

DOC = os.path.join(os.path.dirname(__file__), "..", "..", "contrib", "doc", "metrics.md")
DAY = 86400


def metrics(server):
    """Values by name with labels; kinds by name."""
    text = server.get(server.status, "/metrics").body.decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.M))
    return {k: float(v) for k, v in re.findall(r"^([^#\s]\S*) (\S+)$", text, re.M)}, kinds


def value(server, name):
    return metrics(server)[0][name]


class Documentation(unittest.TestCase):
    def test_each_is_documented(self):
        with Server() as s:
            values, kinds = metrics(s)
        self.assertTrue(values)
        with open(DOC, encoding="utf-8") as f:
            table, alerts = f.read().split("## Alerts")
        told = {}
        for line in re.findall(r"^\| `testudo_.*$", table, re.M):
            names, kind = line.split("|")[1:3]
            for name in re.findall(r"`(\w+)(?:\{[\w,]+\})?`", names):
                told[name] = kind.split(",")[0].strip()
        self.assertEqual(told, kinds)
        for name in set(re.findall(r"testudo_\w+", alerts)):
            self.assertIn(name, kinds)


class Figures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Server(renewal__period="1", ca__crl_hook="/bin/false")
        cls.export = os.path.join(cls.s.dir, "out", "crl.pem")
        cls.s.settings["ca-crl_export"] = cls.export
        cls.s.init()
        cls.s.start()

    @classmethod
    def tearDownClass(cls):
        cls.s.__exit__(None, None, None)

    def at(self, name):
        return value(self.s, name)

    def becomes(self, name, want):
        wait_for(f"{name} {want}", lambda: self.at(name) == want)

    def test_ca(self):
        s = self.s
        end = s.api("GET", "/api/v1/ca").json["issuing"]["not_after"]
        got = self.at("testudo_ca_issuing_not_after_timestamp_seconds")
        self.assertEqual(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(got)), end)
        left = self.at("testudo_ca_ocsp_responder_not_after_timestamp_seconds") - time.time()
        self.assertTrue(13 * DAY < left < 15 * DAY, left)

    def test_crl(self):
        """Exports fail as long as the directory is not there; then the hook does."""
        s = self.s
        wait_for("a failed export", lambda: self.at("testudo_crl_export_failures_total") >= 1)
        os.makedirs(os.path.dirname(self.export), exist_ok=True)
        wait_for("the export", lambda: self.at("testudo_crl_export_next_update_timestamp_seconds"))
        wait_for("the hook", lambda: self.at("testudo_crl_hook_failures_total") >= 1)
        self.assertEqual(s.get(s.status, "/crl/issuing.crl").status, 200)
        now = time.time()
        made = self.at("testudo_crl_this_update_timestamp_seconds")
        until = self.at("testudo_crl_next_update_timestamp_seconds")
        self.assertTrue(now - 3600 < made <= now, made)
        self.assertEqual(until - made, 7 * DAY)
        self.assertEqual(self.at("testudo_crl_export_next_update_timestamp_seconds"), until)
        self.assertEqual(self.at("testudo_crl_failures_total"), 0)

    def test_certificates_and_renewals(self):
        s = self.s
        good, gone = (f'testudo_certificates{{status="{x}",purpose="management"}}'
                      for x in ("good", "revoked"))
        s.fleet(3)
        serials = sorted(f[:-7] for f in os.listdir(s.fleet_dir) if f.endswith(".device"))
        self.becomes(good, 3)
        s.api("DELETE", f"/api/v1/inventory/devices/{serials[0]}")
        self.becomes(gone, 1)
        self.becomes(good, 2)
        self.assertEqual(self.at('testudo_renewals{state="due"}'), 0)
        pushed = self.at("testudo_renewals_pushed_total")
        s.database().execute("UPDATE certificates SET renew_at = 1 WHERE device_serial = "
                             f"'{serials[1]}'")
        self.becomes("testudo_renewals_pushed_total", pushed + 1)
        self.becomes('testudo_renewals{state="waiting"}', 1)
        s.connect("--serial", serials[1], "--pki", s.pki)  # the device renews
        self.becomes('testudo_renewals{state="waiting"}', 0)
        # one that ended, and that no profile renews any more
        s.database().execute("UPDATE certificates SET not_after = 100 WHERE device_serial = "
                             f"'{serials[0]}'")
        self.becomes('testudo_certificates{status="expired",purpose="management"}', 1)


if __name__ == "__main__":
    unittest.main()
