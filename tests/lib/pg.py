"""Throw-away PostgreSQL clusters from Debian's packages: start, stop, kill, stand by, promote.

A cluster lives in a directory of its own, listens on a unix socket there (and on a loopback port
when asked) and is gone with the process that made it. PostgreSQL refuses to run as root: then it
runs as `postgres`, or as nobody."""
import atexit
import glob
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

DEADLINE = 60
PORT = 5432


def find_bin():
    """The folder of PostgreSQL's programs, 15 or later; None when it is not installed."""
    found = [d for d in glob.glob("/usr/lib/postgresql/*/bin")
             if d.split("/")[4].isdigit() and int(d.split("/")[4]) >= 15 and
             os.access(os.path.join(d, "initdb"), os.X_OK)]
    return max(found, key=lambda d: int(d.split("/")[4])) if found else None


BIN = find_bin()


def owner():
    """Popen arguments of the user it runs as, who is not root."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("no user to run PostgreSQL as")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Cluster:
    """One PostgreSQL server. `tcp` adds a loopback port, which makes it a host of its own in an
    URL of several. `fsync` is for tests of durability: off, it is several times as fast."""

    def __init__(self, tcp=False, fsync=False, directory=None, **settings):
        if not BIN:
            raise RuntimeError("PostgreSQL 15 or later is not installed")
        self.dir = directory or tempfile.mkdtemp(prefix="td-pg-", dir="/tmp")
        self.data, self.log_path = os.path.join(self.dir, "data"), os.path.join(self.dir, "log")
        if os.getuid() == 0:
            os.chown(self.dir, owner()["user"], owner()["group"])
        self.port = free_port() if tcp else PORT
        self.tcp, self.fsync = tcp, fsync
        self.settings = {
            "unix_socket_directories": self.dir, "unix_socket_permissions": "0777",
            "listen_addresses": "127.0.0.1" if tcp else "", "port": self.port,
            "fsync": "on" if fsync else "off", "full_page_writes": "on" if fsync else "off",
            "recovery_init_sync_method": "syncfs", "synchronous_commit": "on",
            "max_connections": 200, "shared_buffers": "32MB",
            "max_wal_senders": 8, "wal_level": "replica", "hot_standby": "on",
            "wal_sender_timeout": "10s", "log_min_messages": "warning", "autovacuum_naptime": "10s"}
        self.settings.update(settings)
        self.process = None
        atexit.register(self.remove)

    def run(self, name, *args, check=True):
        done = subprocess.run([os.path.join(BIN, name), *map(str, args)], capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, timeout=DEADLINE, cwd="/",
                              env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, **owner())
        if check and done.returncode != 0:
            raise AssertionError(f"{name}: status {done.returncode}\n{done.stdout}{done.stderr}"
                                 f"\n{self.tail()}")
        return done

    def init(self):
        more = [] if self.fsync else ["--no-sync"]
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                 "--locale=C.UTF-8", *more)
        self.configure()
        return self

    def configure(self):
        with open(os.path.join(self.data, "postgresql.auto.conf"), "a", encoding="ascii") as f:
            f.writelines(f"{k} = '{v}'\n" for k, v in self.settings.items())

    def start(self):
        """Starts it and returns when it answers queries."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BIN, "postgres"), "-D", self.data], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd="/", **owner())
        pause, until = 0.005, time.monotonic() + DEADLINE
        while not self.answers():
            if self.process.poll() is not None:
                raise AssertionError(f"postgres ended with {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > until:
                raise AssertionError(f"postgres does not answer:\n{self.tail()}")
            select.select([], [], [], pause)
            pause = min(pause * 2, 0.1)
        return self

    def answers(self):
        return self.run("pg_isready", "-q", "-h", self.dir, "-p", self.port,
                        check=False).returncode == 0

    def tail(self, n=40):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return "".join(f.readlines()[-n:])
        except OSError:
            return ""

    def stop(self, mode="fast"):
        """smart, fast (rolls back what is open) or immediate (as a crash: recovery at the start)."""
        if not self.process:
            return
        self.process.send_signal({"smart": signal.SIGTERM, "fast": signal.SIGINT,
                                  "immediate": signal.SIGQUIT}[mode])
        self.process.wait(DEADLINE)
        self.process = None

    def kill(self):
        """SIGKILL to the postmaster and to every process of it, as the loss of the machine."""
        if not self.process:
            return
        pids = children(self.process.pid)
        self.process.kill()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(DEADLINE)
        self.process = None
        until = time.monotonic() + DEADLINE
        while any(map(alive, pids)) and time.monotonic() < until:
            select.select([], [], [], 0.002)

    def freeze(self):
        """SIGSTOP to every process of it: connections stand, nobody answers."""
        pids = [self.process.pid]
        for pid in pids:  # the postmaster first: it makes no more of them
            os.kill(pid, signal.SIGSTOP)
            pids += children(pid)

    def remove(self):
        atexit.unregister(self.remove)
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.init().start()

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(self.tail())
        self.remove()

    # --- databases ---

    def url(self, database=""):
        """An URL of libpq; without a database a prefix: it goes in behind the third slash."""
        return (f"postgres:///{database}?host={urllib.parse.quote(self.dir, safe='/')}"
                f"&port={self.port}&user=postgres")

    def sql(self, text, database="postgres", check=True):
        """Runs SQL by psql; its rows as text, columns between bars."""
        done = self.run("psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.dir,
                        "-p", self.port, "-U", "postgres", "-d", database, "-c", text, check=check)
        return done.stdout.strip()

    def create_database(self, name):
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def drop_database(self, name):
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    # --- replication ---

    def standby(self, **settings):
        """A streaming standby of this cluster, running and caught up to its start."""
        other = Cluster(tcp=self.tcp, fsync=self.fsync, **settings)
        # cluster_name is what synchronous_standby_names names
        other.settings.setdefault("cluster_name", f"standby{other.port}")
        self.run("pg_basebackup", "-h", self.dir, "-p", self.port, "-U", "postgres", "-D", other.data,
                 "-R", "-X", "stream", "-c", "fast", *([] if self.fsync else ["--no-sync"]))
        other.configure()
        return other.start()

    def synchronous(self, names="*", commit="on"):
        """From now on a commit waits for a standby (remote_apply: until it can be read there)."""
        self.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.sql(f"ALTER SYSTEM SET synchronous_commit = '{commit}'")
        self.sql("SELECT pg_reload_conf()")
        until = time.monotonic() + DEADLINE
        while names and self.sql("SELECT count(*) FROM pg_stat_replication"
                                 " WHERE sync_state IN ('sync', 'quorum')") == "0":
            if time.monotonic() > until:
                raise AssertionError(f"no synchronous standby:\n{self.tail()}")
            select.select([], [], [], 0.02)

    def promote(self):
        """Makes a standby the primary; returns when it takes writes. It no longer waits for a
        standby of its own."""
        self.sql("ALTER SYSTEM RESET synchronous_standby_names")
        self.sql("SELECT pg_reload_conf()")
        self.sql("SELECT pg_promote(true, 60)")


def urls(clusters, database, **options):
    """The URL of several hosts (all with `tcp`); libpq takes the first that fits."""
    options = {"target_session_attrs": "read-write", "connect_timeout": 2, **options}
    hosts = ",".join(f"127.0.0.1:{c.port}" for c in clusters)
    return f"postgres://postgres@{hosts}/{database}?" + urllib.parse.urlencode(options)


_shared = None


def shared():
    """The cluster of this process: without fsync, started at the first call."""
    global _shared
    if _shared is None:
        _shared = Cluster().init().start()
    return _shared
