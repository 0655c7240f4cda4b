"""Load that remembers what the server acknowledged: for tests that kill it.

Commanders queue commands by the API, devices come for them, report results and update their tokens,
a simulator enrols more devices, a leaver takes some of those out of the inventory. Each does again
what got no answer, as its model does. `pending` collects every acknowledged thing until a check takes
it; check() looks each up in the database, final() once more from outside, by API and OCSP."""
import collections
import http.client
import json
import os
import plistlib
import queue
import random
import re
import socket
import subprocess
import threading
import uuid

from testudo import DEADLINE, program, run

CHECKIN = "application/x-apple-aspen-mdm-checkin"
MDM = "application/x-apple-aspen-mdm; charset=UTF-8"
TOPIC = "com.apple.mgmt.External.testudo"
AGAIN = (502, 503, 504)  # what a client tries again later


class Stopped(Exception):
    pass


class Quiet:
    """What a Client counts in, where there is no load."""

    def __init__(self, server):
        self.server, self.lock = server, threading.Lock()
        self.count, self.away, self.stopping = collections.Counter(), set(), threading.Event()


class Client:
    """One kept connection that opens itself again; repeats what got no answer."""

    def __init__(self, load, base, context=None):
        self.load, self.context = load, context
        self.scheme, _, self.host = base.partition("://")
        self.connection = None

    def open(self):
        host, _, port = self.host.partition(":")
        if self.scheme == "https":
            self.connection = http.client.HTTPSConnection(host, int(port), timeout=20,
                                                          context=self.context)
        else:
            self.connection = http.client.HTTPConnection(host, int(port), timeout=20)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def once(self, method, path, body=None, headers=None):
        if not self.connection:
            self.open()
        self.connection.request(method, path, body, headers or {})
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.will_close:
            self.close()
        return answer.status, body

    def request(self, method, path, body=None, headers=None):
        """The first answer that is none of 502 to 504; *again tells that one was repeated."""
        nap, self.again = 0.002, False
        while True:
            try:
                status, answer = self.once(method, path, body, headers)
                if status not in AGAIN:
                    return status, answer
                self.load.count["answered " + str(status)] += 1
                with self.load.lock:
                    self.load.away.add(status)
            except (OSError, http.client.HTTPException):
                self.close()
                self.load.count["without answer"] += 1
            self.again = True
            if self.load.stopping.wait(nap):
                raise Stopped
            nap = min(nap * 1.5, 0.05)


class Load:
    def __init__(self, server, seed, base=8, commanders=2, devices=2, enrolling=2, rate=60):
        self.server, self.seed, self.rng = server, seed, random.Random(seed)
        self.lock, self.acked = threading.Lock(), threading.Condition()
        self.reading = threading.Lock()
        self.stopping = threading.Event()
        self.count = collections.Counter()
        self.away = set()       # statuses that asked to come again
        self.trouble = []       # what must not happen
        self.done = 0           # acknowledged so far
        self.pending = collections.defaultdict(list)
        self.queued, self.results = {}, set()  # command -> serial; commands with a result
        self.magic = {}         # serial -> PushMagic acknowledged last
        self.certificates = collections.OrderedDict()  # serial of certificate -> of device
        self.enrolled, self.revoked = set(), set()
        self.leaving, self.doomed = queue.Queue(), set()
        self.enrolling, self.rate = enrolling, rate
        self.ncommanders, self.ndevices = commanders, devices
        self.acks_path, self.acks_at = os.path.join(server.dir, f"acks{seed}"), 0
        self.base = [f"BASE{seed}N{i + 1:07}" for i in range(base)]
        summary = server.fleet(base, None, "--prefix", f"BASE{seed}N")
        assert summary["enrolled"] == base, summary
        self.udids = {s: server.udid(s) for s in self.base}
        self.identities = {s: server.identity(s) for s in self.base}
        self.threads = []

    # --- bookkeeping ---

    def ack(self, kind, *what):
        with self.acked:
            self.pending[kind].append(what)
            self.count[kind] += 1
            self.done += 1
            self.acked.notify_all()

    def bad(self, text):
        with self.lock:
            self.trouble.append(text)
        self.stopping.set()
        with self.acked:
            self.acked.notify_all()

    def wait(self, more):
        """Returns once so many things more were acknowledged, however long it takes: what may not
        be is that nothing is."""
        with self.acked:
            target = self.done + more
            while self.done < target and not self.trouble:
                before = self.done
                assert self.acked.wait_for(lambda: self.done > before or self.trouble, DEADLINE), \
                    f"no progress: {dict(self.count)}\n{self.server.tail()}"
        assert not self.trouble, self.trouble

    # --- the parts ---

    def commander(self, seed):
        rng, api = random.Random(seed), Client(self, self.server.public, self.server.tls())
        headers = {"Authorization": f"Bearer {self.server.token}", "Content-Type": "application/xml"}
        while not self.stopping.is_set():
            serial, name = rng.choice(self.base), str(uuid.UUID(int=rng.getrandbits(128))).upper()
            body = plistlib.dumps({"CommandUUID": name, "Command": {"RequestType": "SecurityInfo"}})
            status, answer = api.request("POST", f"/api/v1/devices/{serial}/commands", body, headers)
            # repeated: the first one may have been taken without an answer
            if status == 201 or (status == 409 and api.again and b"command-uuid-used" in answer):
                self.queued[name] = serial
                self.ack("command", name)
            else:
                self.bad(f"command: {status} {answer[:300]!r}")

    def device(self, serials, seed):
        rng = random.Random(seed)
        clients = {s: Client(self, self.server.device, self.server.tls(self.identities[s]))
                   for s in serials}
        while not self.stopping.is_set():
            for serial in serials:
                if rng.random() < 0.3:
                    self.update_token(clients[serial], serial, f"{rng.getrandbits(64):016x}")
                self.session(clients[serial], serial, rng.randint(1, 20))

    def update_token(self, client, serial, magic):
        body = plistlib.dumps({"MessageType": "TokenUpdate", "UDID": self.udids[serial], "Topic": TOPIC,
                               "PushMagic": magic, "Token": b"\1" * 32})
        status, answer = client.request("PUT", "/mdm/checkin", body, {"Content-Type": CHECKIN})
        if status != 200 or answer:
            self.bad(f"TokenUpdate: {status} {answer[:300]!r}")
        self.magic[serial] = magic
        self.ack("check-in", serial, magic)

    def session(self, client, serial, most):
        report = {"Status": "Idle", "UDID": self.udids[serial]}
        for _ in range(most):
            status, answer = client.request("PUT", "/mdm/connect", plistlib.dumps(report),
                                            {"Content-Type": MDM})
            if status != 200:
                self.bad(f"connect: {status} {answer[:300]!r}")
                return
            if report.get("CommandUUID"):
                self.results.add(report["CommandUUID"])
                self.ack("result", report["CommandUUID"])
            if not answer:
                return
            name = plistlib.loads(answer)["CommandUUID"]
            if name in self.results:
                self.bad(f"{name} was served again behind its result")
            report = {"Status": "Acknowledged", "UDID": self.udids[serial], "CommandUUID": name,
                      "SecurityInfo": {"PasscodePresent": True}}

    def leaver(self):
        api = Client(self, self.server.public, self.server.tls())
        headers = {"Authorization": f"Bearer {self.server.token}"}
        while not self.stopping.is_set():
            try:
                serial = self.leaving.get(timeout=0.1)
            except queue.Empty:
                continue
            status, answer = api.request("DELETE", f"/api/v1/inventory/devices/{serial}",
                                         headers=headers)
            if status == 204 or (status == 404 and api.again):
                with self.lock:
                    self.revoked.add(serial)
                self.ack("revocation", serial)
            else:
                self.bad(f"leaving: {status} {answer[:300]!r}")

    def read_acks(self):
        """What the simulator's devices were told since the last look; one thread at a time."""
        with self.reading:
            self.read_new_acks()

    def read_new_acks(self):
        try:
            with open(self.acks_path, encoding="ascii") as f:
                f.seek(self.acks_at)
                text = f.read()
        except FileNotFoundError:
            return
        text = text[:text.rfind("\n") + 1]
        self.acks_at += len(text)
        for line in text.splitlines():
            kind, serial, *more = line.split()
            if kind == "certificate":
                self.certificates[more[0]] = serial
                self.ack("certificate", more[0], serial)
            elif kind == "authenticate":
                self.ack("authenticate", serial)
            elif kind == "token_update":
                self.enrolled.add(serial)
                self.ack("enrolment", serial)
                if self.rng.random() < 0.3:
                    self.doomed.add(serial)
                    self.leaving.put(serial)

    def watch_acks(self):
        while not self.stopping.is_set():
            self.read_acks()
            self.stopping.wait(0.004)

    def guarded(self, part, *args):
        try:
            part(*args)
        except Stopped:
            pass
        except Exception as e:  # shown by the main thread
            self.bad(f"{part.__name__}: {e!r}")

    def start(self):
        parts = [(self.commander, self.rng.random()) for _ in range(self.ncommanders)]
        for i in range(self.ndevices):
            parts.append((self.device, self.base[i::self.ndevices], self.rng.random()))
        self.simulator = None
        if self.enrolling:
            parts += [(self.leaver,), (self.watch_acks,)]
            self.simulator = subprocess.Popen(
                [program("testudo-sim"), "fleet", *self.server.sim_args, "--count", "1000000",
                 "--put-inventory", "--prefix", f"LOAD{self.seed}N", "--state", self.server.fleet_dir,
                 "--threads", str(self.enrolling), "--rate", str(self.rate), "--retry", "60",
                 "--acks", self.acks_path, "--json", "--quiet"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for part, *args in parts:
            self.threads.append(threading.Thread(target=self.guarded, args=(part, *args), daemon=True))
            self.threads[-1].start()
        return self

    def stop(self):
        """Ends the load while the server is well; nothing that the simulator began may have failed."""
        summary = None
        if self.simulator:
            self.simulator.terminate()
            out = self.simulator.communicate(timeout=180)[0]
            summary = json.loads(out.splitlines()[-1])
            self.read_acks()
        self.stopping.set()
        for t in self.threads:
            t.join(60)
        assert not self.trouble, self.trouble
        if summary:
            assert summary["failed"] == 0, summary["failures"]
        return summary

    # --- what was acknowledged is there ---

    def take(self):
        with self.acked:
            taken, self.pending = self.pending, collections.defaultdict(list)
        return taken

    def check(self, query):
        """Each thing acknowledged since the last check is in the database, once. `query` gives the
        rows of a SELECT."""
        taken, missing = self.take(), []

        def names(values):
            return ",".join(f"'{v}'" for v in values)

        commands = {u for (u,) in taken["command"]} | {u for (u,) in taken["result"]}
        if commands:
            states = collections.defaultdict(list)
            for name, state in query("SELECT uuid, state FROM commands WHERE uuid IN"
                                     f" ({names(commands)})"):
                states[name].append(state)
            missing += [f"command {u}" for u in commands if len(states[u]) != 1]
            missing += [f"result of {u}: {states[u]}" for (u,) in taken["result"]
                        if states[u] != ["acknowledged"]]
        hexes = {h: serial for h, serial in taken["certificate"]}
        if hexes:
            rows = {h.lower(): (serial, status) for h, serial, status in query(
                "SELECT @hex@, device_serial, status FROM certificates WHERE device_serial IN"
                f" ({names(set(hexes.values()))})")}
            missing += [f"certificate {h} of {s}" for h, s in hexes.items()
                        if rows.get(h, ("",))[0] != s]
        serials = {s for kind in ("authenticate", "enrolment") for (s,) in taken[kind]}
        if serials:
            states = dict(query("SELECT serial, state FROM enrollments WHERE serial IN"
                                f" ({names(serials)})"))
            missing += [f"Authenticate of {s}" for (s,) in taken["authenticate"] if s not in states]
            missing += [f"TokenUpdate of {s}: {states.get(s)}" for (s,) in taken["enrolment"]
                        if states.get(s) not in ("enrolled", "leaving", "removed") or
                        (states[s] != "enrolled" and s not in self.doomed)]
        gone = [s for (s,) in taken["revocation"]]
        if gone:
            missing += [f"revocation of {s}: a certificate is good" for (s,) in query(
                "SELECT device_serial FROM certificates WHERE status = 0 AND device_serial IN"
                f" ({names(gone)})")]
            missing += [f"revocation of {s}: still listed" for (s,) in query(
                f"SELECT serial FROM inv_devices WHERE serial IN ({names(gone)})")]
        assert not missing, missing[:20]
        return sum(len(v) for v in taken.values())

    def final(self, query):
        """From outside: the lists have each command once, OCSP and the records agree with what the
        devices hold, the tokens are the last ones acknowledged."""
        self.drain()
        self.check_lists()
        self.check_ocsp()
        api = Client(self, self.server.public, self.server.tls())
        for serial in self.base:
            enrollment = self.ask(api, f"/api/v1/devices/{serial}")["enrollment"]
            assert enrollment["state"] == "enrolled" and enrollment["pushable"], enrollment
        for serial, magic in self.magic.items():
            got = query(f"SELECT push_magic, state FROM enrollments WHERE serial = '{serial}'")
            assert got == [(magic, "enrolled")], (serial, got, magic)
        left = dict(query("SELECT subject, count(*) FROM audit WHERE action = 'inventory.delete'"
                          " GROUP BY subject"))
        for serial in self.revoked:  # also where the call was repeated
            assert left.get(serial) == 1, (serial, left.get(serial))
        for serial in self.enrolled - self.revoked:
            state = self.ask(api, f"/api/v1/devices/{serial}")["enrollment"]["state"]
            assert state == "enrolled", (serial, state)

    def drain(self):
        """The devices come until their queues are empty."""
        self.stopping.clear()
        for serial in self.base:
            client = Client(self, self.server.device, self.server.tls(self.identities[serial]))
            self.session(client, serial, 100000)
            client.close()
        assert not self.trouble, self.trouble

    def ask(self, api, path):
        status, body = api.request("GET", path,
                                   headers={"Authorization": f"Bearer {self.server.token}"})
        assert status == 200, (path, status, body)
        return json.loads(body)

    def check_lists(self):
        api, seen = Client(self, self.server.public, self.server.tls()), collections.Counter()
        for serial in self.base:
            cursor = ""
            while cursor is not None:
                page = self.ask(api, f"/api/v1/devices/{serial}/commands?limit=1000{cursor}")
                for c in page["commands"]:
                    seen[c["uuid"]] += 1
                    assert c["state"] == "acknowledged", c
                    assert self.queued.get(c["uuid"], serial) == serial, c
                cursor = page["next_cursor"] and "&cursor=" + page["next_cursor"]
        assert not [u for u, n in seen.items() if n != 1], "a command is listed twice"
        lost = set(self.queued) - set(seen)
        assert not lost, f"commands lost: {sorted(lost)[:20]}"

    def check_ocsp(self):
        asker = Ocsp(self)
        newest = {serial: h for h, serial in self.certificates.items()}
        for h, serial in self.certificates.items():
            status = asker.status(h)
            if serial in self.revoked:
                assert status == "revoked", (h, serial, status)
            elif newest[serial] == h:  # an earlier one was superseded, or not
                assert status == "good", (h, serial, status)
            else:
                assert status in ("good", "revoked"), (h, serial, status)


class Ocsp:
    """Asks for one certificate at a time on a kept connection. It knows the issuing CAs that the
    server has at its making, or those of another asker."""

    WORDS = {0x80: "good", 0xa1: "revoked", 0x82: "unknown"}

    def __init__(self, load, other=None):
        server = load.server
        self.client = Client(load, server.status)
        if other:
            self.issuers = other.issuers
            return
        issuing = os.path.join(server.dir, "issuing.pem")
        status, body = self.client.request("GET", "/ca/chain.pem")
        assert status == 200, status
        self.issuers = []
        for pem in re.findall(rb"-----BEGIN.*?-----END CERTIFICATE-----\n", body, re.S)[:-1]:
            with open(issuing, "wb") as f:
                f.write(pem)
            path = os.path.join(server.dir, "ocsp.req")
            run("openssl", "ocsp", "-issuer", issuing, "-serial", "1", "-reqout", path, "-no_nonce")
            with open(path, "rb") as f:
                self.issuers.append([m.group(1)
                                     for m in re.finditer(rb"\x04\x14(.{20})", f.read(), re.S)])

    @staticmethod
    def tlv(tag, body):
        n = len(body)
        return bytes([tag, n] if n < 128 else [tag, 0x81, n]) + body

    def status(self, hexadecimal):
        """The word of the CA that knows the number; every one has to answer."""
        words = {self.ask(hashes, hexadecimal) for hashes in self.issuers} - {"unknown"}
        assert len(words) <= 1, (hexadecimal, words)
        return words.pop() if words else "unknown"

    def ask(self, hashes, hexadecimal):
        serial = self.tlv(2, bytes.fromhex(hexadecimal))
        if bytes.fromhex(hexadecimal)[0] >= 0x80:
            serial = self.tlv(2, b"\0" + bytes.fromhex(hexadecimal))
        body = self.tlv(0x30, bytes.fromhex("300906052b0e03021a0500") + self.tlv(4, hashes[0]) +
                        self.tlv(4, hashes[1]) + serial)
        for _ in range(4):
            body = self.tlv(0x30, body)
        status, answer = self.client.request("POST", "/ocsp", body,
                                             {"Content-Type": "application/ocsp-request"})
        at = answer.find(serial)
        assert status == 200 and at >= 0, (status, answer[:40])
        return self.WORDS.get(answer[at + len(serial)], "none")
