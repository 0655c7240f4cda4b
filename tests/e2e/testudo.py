"""Real processes for the end-to-end tests: a server on free ports, its API, the simulator."""
import base64
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.append(os.path.join(TESTS, "lib"))
import pg  # noqa: E402

BIN = os.environ.get("TESTUDO_BIN", "build/release/bin")
ENGINE = os.environ.get("TESTUDO_TEST_ENGINE", "sqlite")  # or pg: every server on PostgreSQL
os.environ.setdefault("TSAN_OPTIONS", "suppressions=" + os.path.join(TESTS, "tsan.supp"))
DEADLINE = 120 if "san" in BIN else 60


def program(name):
    return os.path.join(BIN, name)


def free_ports(n):
    """Ports nobody listens on now; all held open until all are found."""
    held = [socket.socket() for _ in range(n)]
    for s in held:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def wait_for(what, condition, seconds=DEADLINE):
    """Calls condition until it gives something true; fails loudly at the deadline."""
    pause, until = 0.002, time.monotonic() + seconds
    while time.monotonic() < until:
        got = condition()
        if got:
            return got
        select.select([], [], [], pause)
        pause = min(pause * 2, 0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


def run(*argv, check=True, timeout=DEADLINE, **more):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True,
                          timeout=timeout, stdin=subprocess.DEVNULL, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))}: status {done.returncode}\n"
                             f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


class PgDatabase:
    """As much of sqlite3.Connection as the tests use, over psql."""

    def __init__(self, url):
        self.url, self.rows = url, []

    @staticmethod
    def literal(value):
        if value is None:
            return "NULL"
        if isinstance(value, bytes):
            return f"'\\x{value.hex()}'::bytea"
        return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"

    def execute(self, sql, values=()):
        words = sql.split("?")
        sql = "".join(w + v for w, v in zip(words, [*map(self.literal, values), ""]))
        if sql.startswith("SELECT"):
            sql = f"SELECT row_to_json(q) FROM ({sql}) q"
        lines = run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", self.url, "-c", sql).stdout
        self.rows = [tuple(bytes.fromhex(v[2:]) if isinstance(v, str) and v.startswith("\\x") else v
                           for v in json.loads(line).values()) for line in lines.splitlines()]
        return self

    def fetchone(self):
        return self.rows[0] if self.rows else None

    def fetchall(self):
        return self.rows

    def close(self):
        pass


class Server:
    """testudo in a directory of its own. Use as a context manager.

    `engine` is sqlite or pg (a database of its own in the cluster of this process); a store__url
    among the settings wins."""

    def __init__(self, directory=None, engine=None, **settings):
        self.own = directory is None
        self.dir = directory or tempfile.mkdtemp(prefix="testudo-")
        self.ports = free_ports(3)
        public, device, status = self.ports
        self.public = f"https://localhost:{public}"
        self.device = f"https://localhost:{device}"
        self.status = f"http://localhost:{status}"
        self.settings = {
            "server-public_url": self.public, "server-device_url": self.device,
            "server-status_url": self.status, "public-address": f"127.0.0.1:{public}",
            "device-address": f"127.0.0.1:{device}", "status-address": f"127.0.0.1:{status}",
            "server-organization": "Example Org"}
        self.settings.update({k.replace("__", "-"): v for k, v in settings.items()})
        self.database_name = None
        if (engine or ENGINE) == "pg" and "store-url" not in self.settings:
            self.database_name = f"td{public}"
            self.settings["store-url"] = pg.shared().create_database(self.database_name)
        self.process = None
        self.log_path = os.path.join(self.dir, "testudo.log")
        self.token = None

    @property
    def ini(self):
        return os.path.join(self.dir, "testudo.ini")

    @property
    def root(self):
        return os.path.join(self.dir, "ca", "root.crt")

    @property
    def token_file(self):
        return os.path.join(self.dir, "admin.token")

    @property
    def pki(self):
        return os.path.join(self.dir, "sim-pki")

    def database(self):
        """The server's database, for what no API shows."""
        if self.database_name:
            return PgDatabase(self.settings["store-url"])
        return sqlite3.connect(os.path.join(self.dir, "testudo.db"), timeout=30,
                               isolation_level=None)

    def init(self, attestation=True):
        """Creates everything; with `attestation` a fake attestation PKI whose root is trusted."""
        if attestation:
            run(program("testudo-sim"), "pki", "init", "--dir", self.pki)
            self.settings["acme-extra_roots"] = os.path.join(self.pki, "root.pem")
        flags = [f"--{k}={v}" for k, v in self.settings.items()]
        self.init_output = run(program("testudo"), "init", f"--dir={self.dir}",
                               f"--token-file={self.token_file}", *flags).stdout
        with open(self.token_file, encoding="ascii") as f:
            self.token = f.read().strip()
        return self

    def start(self):
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen([program("testudo"), "serve", f"--config={self.ini}"],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_for("the server is ready", self.ready)
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"testudo ended with {self.process.returncode}:\n{self.tail()}")
        try:
            return self.get(self.status, "/readyz").status == 200
        except OSError:
            return False

    def tail(self, n=40):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-n:])

    def stop(self, sig=signal.SIGTERM):
        """Ends the server and returns its exit status; a sanitizer's report is a failure."""
        if not self.process:
            return None
        self.process.send_signal(sig)
        status = self.process.wait(DEADLINE)
        self.process = None
        self.log.close()
        text = self.tail(100000)
        found = re.search(r"(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:)[\s\S]{0,4000}",
                          text)
        if found:
            raise AssertionError(found.group(0))
        return status

    def kill(self):
        self.stop(signal.SIGKILL)

    def check(self):
        """Whatever a test did, the rows it leaves contradict one another nowhere."""
        done = run(program("testudo"), "db", "check", f"--config={self.ini}", check=False)
        if done.returncode == 1:
            raise AssertionError(f"testudo db check:\n{done.stdout}")

    def __enter__(self):
        self.init()
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(self.tail())
        try:
            status = self.stop()
            if kind is None and status not in (0, None):
                raise AssertionError(f"testudo ended with {status}:\n{self.tail()}")
            if kind is None and os.path.exists(self.ini):
                self.check()
        finally:
            if self.own:
                shutil.rmtree(self.dir, ignore_errors=True)
            if self.database_name:
                pg.shared().drop_database(self.database_name)

    # --- HTTP ---

    def tls(self, cert=None, key=None):
        context = ssl.create_default_context(cafile=self.root)
        if cert:
            context.load_cert_chain(cert, key)
        return context

    def request(self, base, method, path, body=None, headers=None, context=None):
        scheme, _, host = base.partition("://")
        if scheme == "https":
            connection = http.client.HTTPSConnection(host, timeout=DEADLINE,
                                                     context=context or self.tls())
        else:
            connection = http.client.HTTPConnection(host, timeout=DEADLINE)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, base, path, **more):
        return self.request(base, "GET", path, **more)

    def api(self, method, path, body=None, token=None, headers=None, content_type=None):
        """A call of the REST API; a dict becomes JSON."""
        send = dict(headers or {})
        if token != "":
            send["Authorization"] = f"Bearer {token or self.token}"
        if isinstance(body, dict):
            body, content_type = json.dumps(body), content_type or "application/json"
        if content_type:
            send["Content-Type"] = content_type
        return self.request(self.public, method, path, body, send)

    # --- devices ---

    def put_device(self, serial, **members):
        answer = self.api("PUT", f"/api/v1/inventory/devices/{serial}", members or {"name": serial})
        assert answer.status in (200, 201), answer
        return answer

    def invite(self, serial):
        answer = self.api("POST", "/api/v1/invitations", {"serial": serial})
        assert answer.status == 201, answer
        return answer.json["url"]

    @property
    def sim_args(self):
        return ["--api", self.public, "--token-file", self.token_file, "--cacert", self.root,
                "--pki", self.pki]

    @property
    def fleet_dir(self):
        return os.path.join(self.dir, "fleet")

    def sim(self, word, *args, check=True, timeout=DEADLINE):
        return run(program("testudo-sim"), word, *args, check=check, timeout=timeout)

    def fleet(self, count=None, inventory=None, *args):
        """Enrols simulated devices; the summary as a dict."""
        what = ["--inventory", inventory] if inventory else ["--count", count, "--put-inventory"]
        done = self.sim("fleet", *self.sim_args, *what, "--state", self.fleet_dir, "--json", *args,
                        timeout=DEADLINE * 3)
        return json.loads(done.stdout)

    def connect(self, *args):
        return self.sim("connect", "--state", self.fleet_dir, "--cacert", self.root,
                        *(args or ["--all"]))

    def command(self, serial, **members):
        answer = self.api("POST", f"/api/v1/devices/{serial}/commands", members)
        assert answer.status in (201, 202), answer
        return answer.json["uuid"]

    def certificates(self, serial):
        answer = self.api("GET", f"/api/v1/devices/{serial}/certificates")
        assert answer.status == 200, answer
        return answer.json["certificates"]

    def identity(self, serial, folder=None):
        """Certificate and key of a simulated device, in one PEM file beside its state."""
        path = os.path.join(folder or self.fleet_dir, serial)
        with open(path + ".device", encoding="utf-8") as f:
            pems = re.findall(r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", f.read(), re.S)
        path += ".pem"
        with open(path, "w", encoding="ascii") as f:
            f.write("\n".join(p.replace("\\n", "\n") for p in pems[:2]) + "\n")
        return path

    def udid(self, serial):
        return self.api("GET", f"/api/v1/devices/{serial}").json["enrollment"]["udid"]

    def attempts(self, serial):
        answer = self.api("GET", f"/api/v1/devices/{serial}/attempts")
        assert answer.status == 200, answer
        return answer.json["attempts"]


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
