"""Webhooks with a real receiver: what leaves with the commit arrives, in order, signed, once."""
import calendar
import itertools
import os
import re
import signal
import threading
import time
import unittest

from testudo import DEADLINE, TESTS, Server, free_ports, program, run, wait_for

from receiver import Receiver, header, verified, verified_by_node

TOP = os.path.dirname(TESTS)
SECRET = r"whsec_[A-Za-z0-9+/]{43}="


class Webhooks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(webhook__timeout="10s")
        cls.bundle = os.path.join(cls.server.dir, "bundle.pem")
        cls.server.settings["webhook-ca_file"] = cls.bundle
        # a proxy that is not there: it is not asked
        os.environ["https_proxy"] = os.environ["http_proxy"] = "http://127.0.0.1:1"
        cls.addClassCleanup(lambda: [os.environ.pop(k) for k in ("https_proxy", "http_proxy")])
        cls.server.init()
        cls.trusted = cls.self_signed("trusted", "other.example")
        with open(cls.bundle, "w", encoding="ascii") as out:
            for path in (cls.server.root, cls.trusted["cert"]):
                with open(path, encoding="ascii") as f:
                    out.write(f.read())
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    @classmethod
    def self_signed(cls, name, host):
        base = os.path.join(cls.server.dir, name)
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
            "-keyout", base + ".key", "-out", base + ".crt")
        return {"cert": base + ".crt", "key": base + ".key"}

    def api(self, method, path, *args, **more):
        return self.server.api(method, "/api/v1" + path, *args, **more)

    def receiver(self, **more):
        tls = os.path.join(self.server.dir, "tls")
        more = {"cert": os.path.join(tls, "server.crt"), "key": os.path.join(tls, "server.key"),
                **more}
        receiver = Receiver(**more)
        self.addCleanup(receiver.stop)
        return receiver

    def hook(self, url, events=(), **more):
        answer = self.api("POST", "/webhooks", {"url": url, "events": list(events), **more})
        self.assertEqual(answer.status, 201, answer)
        self.addCleanup(self.api, "DELETE", f"/webhooks/{answer.json['id']}")
        return answer.json

    def view(self, hook):
        return self.api("GET", f"/webhooks/{hook['id']}").json

    def wait_error(self, hook, pattern):
        """Until its last error is that one."""
        view = wait_for(f"an error like {pattern}", lambda: (
            lambda v: v["last_error"] and v)(self.view(hook)))
        self.assertRegex(view["last_error"], pattern)
        return view

    def put(self, *serials):
        for serial in serials:
            self.server.put_device(serial)

    def test_a_device_leaves(self):
        """One cause: one txn, in the events and in the audit trail."""
        self.server.fleet(1, None, "--prefix", "LEAVES")
        serial = "LEAVES0000001"
        certificates = {c["serial"] for c in self.server.certificates(serial)}
        receiver = self.receiver()
        hook = self.hook(receiver.url)
        self.assertRegex(hook["secret"], f"^{SECRET}$")
        self.assertEqual(self.api("DELETE", f"/inventory/devices/{serial}").status, 204)
        wait_for("both events", lambda: len(receiver.events()) > len(certificates))
        events = receiver.events("device.left", "certificate.revoked")
        self.assertEqual(len(events), 1 + len(certificates), events)
        self.assertEqual({e["txn"] for e in events}, {events[0]["txn"]})
        self.assertEqual({e["device"] for e in events}, {serial})
        self.assertEqual({e["certificate"] for e in events} - {None}, certificates)
        revoked = next(e for e in events if e["certificate"])
        self.assertEqual(revoked["data"], {"purpose": "management", "was": "good",
                                           "reason": "cessationOfOperation"})
        self.assertEqual(revoked["actor"][:6], "token:")
        audit = [a for a in self.api("GET", "/audit").json["audit"] if a["txn"] == revoked["txn"]]
        self.assertEqual({a["action"] for a in audit}, {"inventory.delete", "certificates.revoke"})
        for got in receiver.got:
            self.assertEqual((got["method"], got["path"]), ("POST", "/hook?x=1"))
            self.assertEqual(header(got, "content-type"), "application/json")
            self.assertEqual(header(got, "webhook-id"), got["event"]["id"])
            self.assertTrue(verified(got, hook["secret"]))
            self.assertLess(len(got["body"]), 20000)
        self.assertEqual(list(revoked), ["id", "type", "time", "txn", "actor", "device",
                                         "certificate", "data"])
        self.assertEqual(set(verified_by_node(receiver.got, hook["secret"])), {"good"})
        forged = [dict(receiver.got[0], body=receiver.got[0]["body"] + b" ")]
        self.assertEqual(verified_by_node(forged, hook["secret"]), ["bad"])
        view = wait_for("the state", lambda: (lambda v: v["queue"] == 0 and v)(self.view(hook)))
        self.assertEqual((view["delivered"], view["dropped"], view["failing_since"],
                          view["last_error"]), (len(receiver.got), 0, None, None))
        self.assertNotIn("secret", view)

    def test_a_life(self):
        """The events of a device from its listing to its check-out, in that order."""
        receiver = self.receiver()
        hook = self.hook(receiver.url)
        self.server.fleet(1, None, "--prefix", "LIFE")
        serial = "LIFE0000001"
        self.api("POST", f"/devices/{serial}/hold")
        self.api("POST", f"/devices/{serial}/release")
        self.server.command(serial, request_type="SecurityInfo")
        self.server.connect()
        key = self.api("POST", "/eab-keys", {"name": "k"}).json["id"]
        self.api("DELETE", f"/eab-keys/{key}")
        wanted = ["device.added", "certificate.issued", "device.enrolled", "device.held",
                  "device.released", "command.finished", "eab.created", "eab.revoked"]
        wait_for("all of them", lambda: set(wanted) <= {e["type"] for e in receiver.events()})
        events = receiver.events()
        mine = [e["type"] for e in events if e["device"] in (serial, None)]
        self.assertEqual([t for t in mine if t in wanted], wanted, mine)
        finished = receiver.events("command.finished")[-1]["data"]
        self.assertEqual((finished["request"], finished["state"]), ("SecurityInfo", "acknowledged"))
        self.assertEqual(receiver.events("eab.created")[0]["data"]["id"], key)
        self.assertEqual(set(verified_by_node(receiver.got, hook["secret"])), {"good"})

    def test_down_then_up(self):
        """Nobody there: all that happened meanwhile arrives, in order, once each."""
        port = free_ports(1)[0]
        hook = self.hook(f"https://localhost:{port}/", ["device.added", "device.left"])
        serials = [f"DOWN{i:02}" for i in range(40)]  # more than one turn
        self.put(*serials)
        self.api("DELETE", "/inventory/devices/DOWN00")
        view = self.wait_error(hook, "connect|refused|Connection")
        self.assertTrue(view["failing_since"] and view["next_try_at"])
        metrics = self.server.get(self.server.public, "/metrics", headers={
            "Authorization": f"Bearer {self.server.token}"}).body.decode()
        self.assertRegex(metrics, r"testudo_webhook_failures_total [1-9]")
        receiver = self.receiver(port=port)
        wait_for("all of them", lambda: len(receiver.events()) >= len(serials) + 1)
        view = wait_for("the state", lambda: (lambda v: v["queue"] == 0 and v)(self.view(hook)))
        self.assertEqual([e["device"] for e in receiver.events()], serials + ["DOWN00"])
        self.assertEqual((view["failing_since"], view["delivered"]), (None, len(serials) + 1))
        self.assertTrue(view["last_error"])  # it stays, with its time
        metrics = self.server.get(self.server.public, "/metrics", headers={
            "Authorization": f"Bearer {self.server.token}"}).body.decode()
        self.assertIn("testudo_webhook_queue_age_seconds", metrics)

    def test_errors(self):
        """Each kind of failure is said, and tried again under the same id until it is well."""
        release, over = [], threading.Event()
        self.addCleanup(over.set)

        def hang(out):
            over.wait(DEADLINE * 2)

        target = self.receiver()

        def endless(out):
            try:
                while True:
                    out.write(b"x" * 65536)
            except OSError:
                release.append("gone")

        cases = {
            "500": ((500, {}, b"oops"), "answered 500"),
            "busy": ((429, {"Retry-After": "1"}, b""), "answered 429"),
            "redirect": ((302, {"Location": target.url}, b""), "answered 302"),
            "kept": ((304, {}, b""), "answered 304"),
            "timeout": ((200, {"Content-Length": "10"}, hang), "timed out"),
            "refusal": ((400, {}, b""), "answered 400"),
        }
        running = {}
        for name, (first, error) in cases.items():
            receiver = self.receiver(
                answer=lambda n, event, first=first: first if n == 0 else (200, {}, b"ok"))
            running[name] = receiver, self.hook(receiver.url, ["device.added"]), error
        self.put("ERRORS1", "ERRORS2")
        for name, (receiver, hook, error) in running.items():
            with self.subTest(name):
                self.wait_error(hook, error)
                wait_for("it arrives", lambda: len(receiver.events()) >= 3)
                ids = [e["id"] for e in receiver.events()]
                self.assertEqual(ids[0], ids[1])
                self.assertEqual([e["device"] for e in receiver.events()],
                                 ["ERRORS1", "ERRORS1", "ERRORS2"])
                stamps = [header(g, "webhook-timestamp") for g in receiver.got]
                self.assertNotEqual(stamps[0], stamps[1])
                self.assertEqual(set(verified_by_node(receiver.got, hook["secret"])), {"good"})
        self.assertEqual(target.got, [])  # nobody followed the redirect
        big = self.receiver(answer=lambda n, event: (200, {}, endless))
        hook = self.hook(big.url, ["device.added"])
        self.put("ERRORS3")
        wait_for("it was taken", lambda: self.view(hook)["delivered"] == 1)
        self.assertEqual(len(big.got), 1)
        wait_for("nobody read the rest", lambda: release)

    def test_ca_rotated(self):
        """Told at the reload that finds it, once."""
        receiver = self.receiver()
        self.hook(receiver.url, ["ca.rotated"])
        was = self.api("GET", "/ca").json["issuing"]["id"]
        run(program("testudo"), "ca", "rotate", f"--config={self.server.ini}")
        for _ in range(2):
            self.server.process.send_signal(signal.SIGHUP)
        wait_for("the event", receiver.events)
        event, = receiver.events()
        now = self.api("GET", "/ca").json["issuing"]["id"]
        self.assertEqual(event["data"], {"issuer": now, "was": was})
        # while the server is down: told when it starts
        self.server.stop()
        run(program("testudo"), "ca", "rotate", f"--config={self.server.ini}")
        for _ in range(2):
            self.server.start()
            last = self.api("GET", "/ca").json["issuing"]["id"]
            wait_for("the event", lambda: len(receiver.events()) >= 2)
            self.server.stop()  # perhaps before it knows that the event arrived
        self.server.start()
        events = {e["id"]: e["data"] for e in receiver.events()}
        self.assertEqual(list(events.values()), [{"issuer": now, "was": was},
                                                 {"issuer": last, "was": now}])
        told = [a["detail"] for a in self.api("GET", "/audit").json["audit"]
                if a["action"] == "ca.activated"]
        self.assertEqual(told, [last, now, was])

    def test_slow_ones_stand_in_nobodys_way(self):
        release = threading.Event()
        self.addCleanup(release.set)
        slow = self.receiver(answer=lambda n, event: (
            200, {"Content-Length": "1"}, lambda out: release.wait(DEADLINE)))
        quick = self.receiver()
        hook = self.hook(slow.url, ["device.added"])
        self.hook(quick.url, ["device.added"])
        self.put(*[f"SLOW{i}" for i in range(5)])
        wait_for("the slow one has the first", slow.events)
        wait_for("the quick one has all", lambda: len(quick.events()) == 5)
        self.assertEqual(self.view(hook)["delivered"], 0)

    def test_certificates(self):
        """Another name, another CA: refused, and no byte of the event is sent."""
        receivers = [self.receiver(**self.self_signed("stranger", "localhost")),
                     self.receiver(**self.trusted)]
        hooks = [self.hook(r.url, ["device.added"]) for r in receivers]
        self.put("TLS1")
        self.wait_error(hooks[0], "self.signed certificate")
        self.wait_error(hooks[1], "subject name")
        self.assertEqual([r.got for r in receivers], [[], []])

    def test_gone(self):
        both = threading.Event()  # the second event is there before the first is answered
        receiver = self.receiver(answer=lambda n, event: both.wait(DEADLINE) and (410, {}, b""))
        hook = self.hook(receiver.url, ["device.added"])
        self.put("GONE1", "GONE2")
        both.set()
        view = wait_for("disabled", lambda: (lambda v: not v["enabled"] and v)(self.view(hook)))
        self.assertEqual((view["queue"], len(receiver.got)), (2, 1))
        self.put("GONE3")  # nobody is told any more
        self.assertEqual(self.view(hook)["queue"], 2)
        audit = self.api("GET", "/audit").json["audit"]
        self.assertIn(("webhook.gone", hook["id"]), [(a["action"], a["subject"]) for a in audit])
        answer = self.api("POST", f"/webhooks/{hook['id']}/test")
        self.assertEqual((answer.status, answer.json["reason"]), (409, "webhook-disabled"))
        receiver.answer = lambda n, event: (200, {}, b"")
        back = self.api("PUT", f"/webhooks/{hook['id']}", {"url": receiver.url,
                                                           "events": ["device.added"]})
        self.assertEqual((back.status, back.json["enabled"]), (200, True))
        wait_for("what had waited", lambda: len(receiver.got) == 3)
        self.assertEqual([e["device"] for e in receiver.events()], ["GONE1", "GONE1", "GONE2"])

    def test_ping_and_new_secret(self):
        receiver = self.receiver(cert=None)  # http, to this machine
        hook = self.hook(receiver.url, ["ca.rotated"], name="ops")
        first = self.api("POST", f"/webhooks/{hook['id']}/test")
        self.assertEqual(first.status, 202)
        wait_for("the ping", lambda: len(receiver.got) == 1)
        new = self.api("POST", f"/webhooks/{hook['id']}/secret", {"overlap": 0})
        self.assertEqual((new.status, new.headers["Cache-Control"]), (200, "no-store"))
        self.assertRegex(new.json["secret"], f"^{SECRET}$")
        self.assertNotEqual(new.json["secret"], hook["secret"])
        second = self.api("POST", f"/webhooks/{hook['id']}/test")
        wait_for("the second ping", lambda: len(receiver.got) == 2)
        self.assertEqual([e["id"] for e in receiver.events("ping")],
                         [first.json["event"], second.json["event"]])
        self.assertEqual([verified(g, hook["secret"]) for g in receiver.got], [True, False])
        self.assertEqual([verified(g, new.json["secret"]) for g in receiver.got], [False, True])
        # neither the database nor the log has a secret in clear
        rows = self.server.database().execute("SELECT secret FROM webhooks").fetchall()
        self.assertTrue(rows)
        for row in rows:
            self.assertNotIn(hook["secret"].encode(), bytes(row[0]))
        with open(self.server.log_path, encoding="utf-8", errors="replace") as f:
            self.assertNotIn("whsec_", f.read())

    def test_overlap(self):
        """For some time each delivery is signed with the old secret too; then it is gone."""
        receiver = self.receiver()
        hook = self.hook(receiver.url, ["device.added"])
        path = f"/webhooks/{hook['id']}/secret"
        self.assertIsNone(self.view(hook)["previous_secret_until"])
        before = time.time()
        new = self.api("POST", path).json  # as configured: a day

        def end(view):
            return calendar.timegm(time.strptime(view["previous_secret_until"], "%Y-%m-%dT%H:%M:%SZ"))

        until = end(new)
        self.assertTrue(before + 86398 < until < time.time() + 86402, until - before)
        self.assertEqual(self.view(hook)["previous_secret_until"], new["previous_secret_until"])
        listed = {h["id"]: h for h in self.api("GET", "/webhooks").json["webhooks"]}
        self.assertEqual(listed[hook["id"]]["previous_secret_until"], new["previous_secret_until"])
        self.put("OVERLAP1")
        wait_for("the first", lambda: len(receiver.got) == 1)
        third = self.api("POST", path, {"overlap": 2}).json
        names = itertools.count(2)
        wait_for("the end of the old one", lambda: (
            self.put(f"OVERLAP{next(names)}"), not verified(receiver.got[-1], new["secret"]))[1])
        for i, g in enumerate(list(receiver.got)):
            late = int(header(g, "webhook-timestamp")) >= end(third)
            secrets = (new, hook) if i == 0 else (third, ) if late else (third, new)
            self.assertEqual(len(header(g, "webhook-signature").split(" ")), len(secrets))
            self.assertTrue(all(verified(g, s["secret"]) for s in secrets), (i, late))
        for g in receiver.got[:1], receiver.got[-1:]:
            self.assertEqual(verified_by_node(g, new["secret"] if g[0] is receiver.got[0] else
                                              third["secret"]), ["good"])
        row = "SELECT length(secret) FROM webhooks WHERE id = ?"
        wait_for("it is gone from the database", lambda: (
            self.server.database().execute(row, (hook["id"],)).fetchone()[0] == 69))
        self.assertIsNone(self.view(hook)["previous_secret_until"])
        told = [a["detail"] for a in self.api("GET", "/audit").json["audit"]
                if a["action"] == "webhook.secret" and a["subject"] == hook["id"]]
        self.assertEqual(told[-1], f"the old one until {new['previous_secret_until']}")
        for bad in ({"overlap": -1}, {"overlap": 2592001}, {"overlap": "1d"}, {"other": 1}):
            self.assertEqual(self.api("POST", path, bad).status, 400, bad)
        self.assertEqual(self.api("POST", "/webhooks/nobody/secret").status, 404)
        for value, good in ("0", True), ("30d", True), ("31d", False), ("-1", False), ("", False):
            done = run(program("testudo"), "config", "check", f"--config={self.server.ini}",
                       f"--webhook-secret_overlap={value}", check=False)
            self.assertEqual((done.returncode == 0, "secret_overlap" in done.stderr),
                             (good, not good), (value, done.stderr))

    def test_changes(self):
        hook = self.hook("https://localhost:1/", ["device.left", "device.added"], enabled=False)
        path = f"/webhooks/{hook['id']}"
        self.assertEqual((hook["enabled"], hook["events"]), (False, ["device.left", "device.added"]))
        got = self.api("GET", path)
        self.assertEqual(got.headers["ETag"], '"1"')
        self.assertNotIn("secret", got.json)
        changed = self.api("PUT", path, {"url": "https://localhost:2/x", "enabled": False},
                           headers={"If-Match": '"1"'})
        self.assertEqual((changed.status, changed.headers["ETag"], changed.json["events"]),
                         (200, '"2"', []))
        stale = self.api("PUT", path, {"url": "https://localhost:3/"}, headers={"If-Match": '"1"'})
        self.assertEqual((stale.status, stale.json["reason"]), (412, "rev-mismatch"))
        listed = self.api("GET", "/webhooks").json["webhooks"]
        self.assertIn(changed.json["url"], [h["url"] for h in listed])
        self.assertEqual(self.api("DELETE", path).status, 204)
        for method, what in (("GET", path), ("DELETE", path), ("POST", path + "/test"),
                             ("POST", path + "/secret"), ("PUT", path)):
            body = {"url": "https://localhost/"} if method == "PUT" else None
            self.assertEqual(self.api(method, what, body).status, 404, what)

    def test_refused(self):
        reader = self.api("POST", "/tokens", {"name": "r", "scopes": "audit:read"}).json["token"]
        hook = self.hook("https://localhost:1/", enabled=False)
        for method, path in (("GET", "/webhooks"), ("POST", "/webhooks"),
                             *((m, f"/webhooks/{hook['id']}{p}") for m, p in (
                                 ("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/test"),
                                 ("POST", "/secret")))):
            for token, status in (("", 401), ("td_" + "A" * 43, 401), (reader, 403)):
                body = {} if method == "PUT" or (method, path) == ("POST", "/webhooks") else None
                answer = self.api(method, path, body, token=token)
                self.assertEqual(answer.status, status, (method, path))
        bad = ["", "x", "http://example.com/", "ftp://localhost/", "https://",
               "https://u:p@localhost/", "https://u@localhost/", "https://localhost/#f",
               "file:///etc/passwd", "gopher://localhost/", "http://127.0.0.1.example.com/",
               "https://localhost/ x", "https://localhost/\u00e9", "https://localhost:99999/",
               "https://h/" + "x" * 991, "http://[::2]/", "http://127.0.0.2/"]
        for url in bad:
            answer = self.api("POST", "/webhooks", {"url": url})
            self.assertEqual(answer.status, 400, (url, answer))
        for body in ({"url": "https://h/", "events": "device.left"},
                     {"url": "https://h/", "events": ["device.lost"]},
                     {"url": "https://h/", "events": ["ping"]},
                     {"url": "https://h/", "events": [5]},
                     {"url": "https://h/", "events": ["device.left"] * 100},
                     {"url": "https://h/", "enabled": "yes"}, {"url": 5}, {},
                     {"url": "https://h/", "secret": "mine"},
                     {"url": "https://h/", "name": "x" * 201}):
            answer = self.api("POST", "/webhooks", body)
            self.assertEqual(answer.status, 400, (body, answer))
        for raw in (b"", b"[]", b'{"url":', b'{"url":"https://h/","url":"https://g/"}'):
            answer = self.api("POST", "/webhooks", raw, content_type="application/json")
            self.assertEqual(answer.status, 400, raw)
        for good in ("https://h/" + "x" * 990, "http://[::1]:8/", "http://localhost/"):
            self.hook(good, enabled=False)
        made = [self.hook("https://h/", enabled=False) for _ in range(
            32 - len(self.api("GET", "/webhooks").json["webhooks"]))]
        self.assertTrue(made)
        full = self.api("POST", "/webhooks", {"url": "https://h/"})
        self.assertEqual((full.status, full.json["reason"]), (409, "webhook-limit"))

    def test_the_document_verifies(self):
        """The lines that webhooks.md shows are run as they stand."""
        with open(os.path.join(TOP, "contrib/doc/webhooks.md"), encoding="utf-8") as f:
            text = f.read()
        python, = re.findall(r"```python\n(.*?)```", text, re.S)
        shell, = re.findall(r"```sh\n(.*?)```", text, re.S)
        receiver = self.receiver()
        hook = self.hook(receiver.url)
        self.api("POST", f"/webhooks/{hook['id']}/test")
        wait_for("the ping", lambda: receiver.got)
        headers = {k.lower(): v for k, v in receiver.got[0]["headers"].items()}
        body, scope = receiver.got[0]["body"], {}
        exec(python, scope)
        with open(os.path.join(self.server.dir, "body"), "wb") as f:
            f.write(body)
        environment = dict(os.environ, SECRET=hook["secret"], ID=headers["webhook-id"],
                           TIMESTAMP=headers["webhook-timestamp"],
                           SIGNATURE=headers["webhook-signature"])
        self.assertTrue(scope["verified"](hook["secret"], headers, body))
        self.assertFalse(scope["verified"](hook["secret"], headers, body + b" "))
        self.assertFalse(scope["verified"](hook["secret"], dict(headers, **{
            "webhook-timestamp": str(int(time.time()) - 600)}), body))
        run("sh", "-c", shell, cwd=self.server.dir, env=environment)
        environment["ID"] += "x"
        self.assertNotEqual(run("sh", "-c", shell, cwd=self.server.dir, env=environment,
                                check=False).returncode, 0)

    def test_the_documents_list_is_the_codes(self):
        with open(os.path.join(TOP, "mdm/store/outbox.def"), encoding="utf-8") as f:
            code = re.findall(r'^OUTBOX\(\w+, "([\w.]+)", "([^"]+)"\)$', f.read(), re.M)
        with open(os.path.join(TOP, "contrib/doc/webhooks.md"), encoding="utf-8") as f:
            doc = re.findall(r"^\| `([\w.]+)` \| ([^|]+?) \|", f.read(), re.M)
        self.assertEqual([d for d in doc if "." in d[0] or d[0] == "ping"], code)


class Restart(unittest.TestCase):
    def test_a_stop_while_a_delivery_is_under_way(self):
        """The stop does not wait for the endpoint; behind the start it goes on at once."""
        release = []
        receiver = Receiver(answer=lambda n, event: (
            200, {"Content-Length": "1"} if n == 0 else {},
            (lambda out: wait_for("released", lambda: release)) if n == 0 else b""))
        self.addCleanup(receiver.stop)
        with Server(webhook__timeout="60s") as server:
            server.api("POST", "/api/v1/webhooks", {"url": receiver.url, "events": ["device.added"]})
            server.put_device("STOP1")
            wait_for("it is under way", lambda: receiver.got)
            began = time.monotonic()
            self.assertEqual(server.stop(), 0)
            self.assertLess(time.monotonic() - began, 50)
            release.append(True)
            server.start()
            wait_for("it comes again", lambda: len(receiver.got) == 2)
            ids = [e["id"] for e in receiver.events()]
            self.assertEqual(ids[0], ids[1])



