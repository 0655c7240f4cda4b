#!/usr/bin/env python3
"""Whether connect, enqueue and the lists cost the same however many enrolments and stored results
there are: on each engine a database of each size is filled, and testudo-scale measures on them in
turn. Prints medians of the rounds and the ratio of the largest to the smallest.

usage: scale.py BIN_DIR [--full] [--engine sqlite|pg] [--keep DIR]

--full: 1,000, 100,000 and 1,000,000 enrolments, each with a stored result (about 12 GB of disk and
a quarter of an hour); else 1,000 and 20,000. fsync is on: what is measured is what is served."""
import concurrent.futures
import hashlib
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(sys.argv[1])
TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.append(os.path.join(TESTS, "lib"))
import pg  # noqa: E402

FULL = "--full" in sys.argv
SIZES = [1000, 100_000, 1_000_000] if FULL else [1000, 20_000]
ROUNDS = 3 if FULL else 1
MS = 3000 if FULL else 400
THREADS = 16
CLEAN_STEPS = 200 if FULL else 20
FIGURES = ("n", "p50_us", "p99_us", "per_second", "cpu_us", "server_us")
figures_shown = 0

# Bytes as the simulator's devices send them: messages, certificate, command, result.
AUTHENTICATE, TOKEN, DER, BODY, RESULT = 610, 617, 658, 420, 1100
DAY = 86400

# {h}(text) is SHA-256, {blob}(n) n bytes; i counts the devices.
ROWS = {
    "inv_devices": """
        (serial, name, model, owner, source, rev, created_at, updated_at)
        SELECT {serial}, 'iPhone of somebody', 'iPhone15,2', 'somebody@example.org', 'api', 1,
               1700000000, 1700000000 FROM {i}""",
    "certificates": """
        (serial, device_serial, profile, purpose, sha256, spki_sha256, der, not_before, not_after,
         status, evidence_id, created_at)
        SELECT {serial16}, {serial}, 'management', 'management', {h}('cert-' || {pad}),
               {h}('spki-' || {pad}), {der}, 1700000000, 1900000000 + i, 0,
               'evidence-of-' || {pad}, 1700000000 FROM {i}""",
    "enrollments": """
        (id, serial, cert_sha256, state, topic, push_magic, push_token, unlock_token, awaiting,
         tally, device_name, model, product, os_version, build, authenticate, token_update,
         authenticated_at, enrolled_at, last_seen_at)
        SELECT {udid}, {serial}, {h}('cert-' || {pad}), 'enrolled', 'com.apple.mgmt.External.scale',
               'ABFCD293-5336-CA21-CEBF-8D4ADBC5AB29', {h}('token-' || {pad}), NULL, 0, 1,
               'iPhone of somebody', 'iPhone15,2', 'iPhone15,2', '18.1', '22B83', {authenticate},
               {token}, 1700000000, 1700000000, {now} FROM {i}""",
    "commands": """
        (uuid, enrollment_id, request_type, body, state, status, notnow_count, result, created_by,
         created_at, sent_at, done_at)
        SELECT {uuid}, {udid}, 'DeviceInformation', {body}, 'acknowledged', 'Acknowledged', 0,
               {result}, 'scale', {now} - i % 7000000, {now} - i % 7000000, {now} - i % 7000000
        FROM {i}""",
}


class SQLite:
    name = "sqlite"

    def filled(self):
        pass

    @staticmethod
    def server_cpu():
        return 0

    def __init__(self, directory):
        self.dir = directory

    def create(self, n):
        self.path = os.path.join(self.dir, f"{n}.db")
        return f"sqlite:{self.path}"

    def fill(self, n):
        db = sqlite3.connect(self.path, isolation_level=None)
        db.create_function("h", 1, lambda s: hashlib.sha256(s.encode()).digest(), deterministic=True)
        db.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF;"
                         "PRAGMA cache_size = -2000000; PRAGMA temp_store = MEMORY;")
        indexes = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS"
                             " NOT NULL AND tbl_name IN ('%s')" % "','".join(ROWS)).fetchall()
        for name, _ in indexes:
            db.execute(f"DROP INDEX {name}")
        words = {
            "i": f"(WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < {n - 1})"
                 " SELECT i FROM s)",
            "h": "h", "pad": "printf('%07d', i)", "serial": "printf('SCALE%07d', i)",
            "serial16": "substr(h('serial-' || i), 1, 16)",
            "udid": "printf('00008030-%016X', i)",
            "uuid": "printf('%s-%s', substr(hex(h('uuid-' || i)), 1, 23), printf('%012d', i))",
            "now": int(time.time()), **{k: f"zeroblob({v})" for k, v in blobs().items()}}
        for table, sql in ROWS.items():
            db.execute("BEGIN")
            db.execute(f"INSERT INTO {table} {sql.format(**words)}")
            db.execute("COMMIT")
        for _, sql in indexes:
            db.execute(sql)
        db.execute("PRAGMA journal_mode = WAL")
        db.close()
        with open(self.path, "rb") as f:
            os.fsync(f.fileno())

    def cpu(self):
        return time.process_time()

    def sizes(self, n):
        db = sqlite3.connect(self.path)
        for table in ROWS:
            try:
                own = db.execute("SELECT sum(pgsize) FROM dbstat WHERE name = ?", (table,)).fetchone()[0]
                rest = db.execute("SELECT sum(pgsize) FROM dbstat WHERE name IN (SELECT name FROM"
                                  " sqlite_schema WHERE type = 'index' AND tbl_name = ?)",
                                  (table,)).fetchone()[0]
            except sqlite3.OperationalError:
                return
            yield table, own / n, rest / n
        db.close()


class PostgreSQL:
    name = "postgres"

    def __init__(self, directory):
        del directory
        # minimal: a table filled in the transaction that truncated it needs no WAL
        self.cluster = pg.Cluster(fsync=True, shared_buffers="1GB", max_wal_size="8GB",
                                  maintenance_work_mem="512MB", wal_level="minimal",
                                  max_wal_senders=0).init().start()

    def filled(self):
        """As a server is run from here on."""
        self.cluster.settings.update(wal_level="replica", max_wal_senders=8)
        self.cluster.configure()
        self.cluster.stop()
        self.cluster.start()

    def create(self, n):
        self.database = f"scale{n}"
        return self.cluster.create_database(self.database)

    def sql(self, text):
        args = ["psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.cluster.dir,
                "-p", str(self.cluster.port), "-U", "postgres", "-d", self.database, "-c", text]
        return subprocess.run(args, check=True, capture_output=True, text=True).stdout.strip()

    def fill(self, n):
        indexes = self.sql(
            "SELECT indexrelid::regclass || '|' || pg_get_indexdef(indexrelid) FROM pg_index WHERE"
            " NOT indisunique AND indrelid::regclass::text IN ('%s')" % "','".join(ROWS)).splitlines()
        words = {
            "i": f"generate_series(0, {n - 1}) i", "h": "td_h", "pad": "lpad(i::text, 7, '0')",
            "serial": "'SCALE' || lpad(i::text, 7, '0')",
            "serial16": "substr(td_h('serial-' || i), 1, 16)",
            "udid": "'00008030-' || lpad(upper(to_hex(i)), 16, '0')",
            "uuid": "substr(upper(encode(td_h('uuid-' || i), 'hex')), 1, 23) || '-' ||"
                    " lpad(i::text, 12, '0')",
            "now": int(time.time()),
            **{k: f"decode(repeat('5a', {v}), 'hex')" for k, v in blobs().items()}}
        self.sql("CREATE FUNCTION td_h(text) RETURNS bytea LANGUAGE sql IMMUTABLE AS"
                 " 'SELECT sha256($1::bytea)'")

        def one(table):
            own = [i for i in indexes if f" ON public.{table} " in i]
            self.sql(f"BEGIN; TRUNCATE {table};" + "".join(f"DROP INDEX {line.split('|')[0]};" for line in own) +
                     f"INSERT INTO {table} {ROWS[table].format(**words)};" +
                     "".join(line.split("|", 1)[1] + ";" for line in own) + "COMMIT")
            self.sql(f"VACUUM (ANALYZE) {table}")

        with concurrent.futures.ThreadPoolExecutor(len(ROWS)) as pool:
            list(pool.map(one, ROWS))
        self.sql("CHECKPOINT")

    def server_cpu(self):
        return self.cpu()

    def cpu(self):
        """CPU seconds of the database server so far, of processes that ended too."""
        pid, ticks = self.cluster.process.pid, 0
        for one in [pid, *pg.children(pid)]:
            try:
                with open(f"/proc/{one}/stat", encoding="ascii", errors="replace") as f:
                    fields = f.read().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += sum(map(int, fields[11:15 if one == pid else 13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def sizes(self, n):
        for table in ROWS:
            own, rest = self.sql(f"SELECT pg_table_size('{table}'), pg_indexes_size('{table}')"
                                 ).split("|")
            yield table, int(own) / n, int(rest) / n


def blobs():
    return {"der": DER, "authenticate": AUTHENTICATE, "token": TOKEN, "body": BODY, "result": RESULT}


def scale(*args, cpu=lambda: 0):
    """The lines of testudo-scale; `server_us` is what `cpu` grew by for each operation of a phase."""
    child = subprocess.Popen([os.path.join(BIN, "testudo-scale"), *map(str, args)], text=True,
                             stdout=subprocess.PIPE)
    lines, phase, before = [], [], cpu()
    for text in child.stdout:
        line, now = json.loads(text), cpu()
        if phase and (phase[0]["n"], phase[0]["threads"]) != (line["n"], line["threads"]):
            phase = []
        phase.append(line)
        lines.append(line)
        took = phase[0].setdefault("took", 0) + now - before
        phase[0]["took"], before = took, now
        for one in phase:
            one["server_us"] = took * 1e6 / (len(phase) * max(one["n"], 1))
    if child.wait() != 0:
        sys.exit(f"testudo-scale {args}: status {child.returncode}")
    return lines


def report(name, value, unit):
    global figures_shown
    figures_shown += 1
    print(f"bench {name} {value:.1f} {unit}", flush=True)


def measure(engine, urls):
    """{(op, threads): {size: {figure: median of the rounds}}}"""
    rounds = {}
    for _ in range(ROUNDS):
        for n, url in urls.items():  # in turn: noise of the machine meets them all
            for got in scale(url, n, MS, THREADS, cpu=engine.server_cpu):
                key = got["op"], got["threads"]
                rounds.setdefault(key, {}).setdefault(n, []).append(got)
    return {key: {n: {figure: statistics.median(g[figure] for g in all_)
                      for figure in FIGURES}
                  for n, all_ in by_size.items()} for key, by_size in rounds.items()}


def cpu_of(figures):
    return max(figures["cpu_us"] + figures["server_us"], 1)


def run(engine):
    urls = {}
    for n in SIZES:
        urls[n] = engine.create(n)
        scale(urls[n])
        began, cpu = time.monotonic(), engine.cpu()
        engine.fill(n)
        report(f"scale-{engine.name}-fill-{n}", time.monotonic() - began,
               f"s, {engine.cpu() - cpu:.1f} s of CPU")
    engine.filled()
    for table, own, rest in engine.sizes(SIZES[-1]):
        report(f"scale-{engine.name}-{table}-row", own, "bytes")
        report(f"scale-{engine.name}-{table}-indexes", rest, "bytes/row")
    for (op, threads), by_size in measure(engine, urls).items():
        name = f"scale-{engine.name}-{op}-{threads}t"
        for n, figures in by_size.items():
            print(f"bench {name}-{n} {figures['p50_us']:.0f} us p99={figures['p99_us']:.0f} "
                  f"cpu={cpu_of(figures):.0f} rate={figures['per_second']:.0f}/s", flush=True)
        small, large = by_size[SIZES[0]], by_size[SIZES[-1]]
        ratio = cpu_of(large) / cpu_of(small)
        report(f"{name}-ratio", large["p50_us"] / max(small["p50_us"], 1),
               f"median, {ratio:.2f} cpu, {SIZES[-1]}:{SIZES[0]}")
    for n, url in urls.items():
        got = scale(url, n, "clean", CLEAN_STEPS)[0]
        report(f"scale-{engine.name}-clean-step-{n}", got["p50_us"], "us")
        report(f"scale-{engine.name}-clean-{n}", got["per_second"], "rows/s")


def main():
    only = sys.argv[sys.argv.index("--engine") + 1] if "--engine" in sys.argv else None
    keep = sys.argv[sys.argv.index("--keep") + 1] if "--keep" in sys.argv else None
    directory = keep or tempfile.mkdtemp(prefix="testudo-scale-")
    skipped = 0
    try:
        if only in (None, "sqlite"):
            run(SQLite(directory))
        if only in (None, "pg") and pg.BIN:
            engine = PostgreSQL(directory)
            run(engine)
            engine.cluster.remove()
        elif only in (None, "pg"):
            print("SKIP: PostgreSQL 15 is not installed")
            skipped = 1
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    print(f"{figures_shown} passed, 0 failed, {skipped} skipped")


main()
