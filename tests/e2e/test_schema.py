"""A database that is damaged, newer or another program's: a clear message, and nothing is touched."""
import hashlib
import os
import subprocess
import unittest

import pg
from testudo import DEADLINE, Server, program


class Schema(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.server.init()
        self.addCleanup(self.server.__exit__, None, None, None)

    def content(self):
        """All there is in the database, without changing it by looking."""
        if self.server.database_name:
            cluster = pg.shared()
            dump = cluster.run("pg_dump", "-h", cluster.dir, "-p", cluster.port, "-U", "postgres",
                               self.server.database_name).stdout
            # newer ones begin and end by a random word
            return [x for x in dump.splitlines() if "restrict " not in x]
        content = {}
        for name in sorted(os.listdir(self.server.dir)):
            path = os.path.join(self.server.dir, name)
            # the other two, -shm and .lock, are who looks; an empty WAL is none
            if name in ("testudo.db", "testudo.db-wal") and os.path.getsize(path):
                with open(path, "rb") as f:
                    content[name] = hashlib.sha256(f.read()).hexdigest()
        return content

    def change(self, *statements):
        db = self.server.database()
        for sql in statements:
            db.execute(sql)
        db.close()

    def refused(self, *words):
        """The server ends with 1 and says why; the database is as it was."""
        before = self.content()
        done = subprocess.run([program("testudo"), "serve", f"--config={self.server.ini}"],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=DEADLINE)
        said = done.stdout + done.stderr
        self.assertEqual(done.returncode, 1, said)
        for word in words:
            self.assertIn(word, said)
        self.assertEqual(self.content(), before)

    def ask(self, sql):
        db = self.server.database()
        try:
            return db.execute(sql).fetchone()[0]
        finally:
            db.close()

    def test_damaged_row(self):
        self.change("UPDATE schema_migrations SET sha256 = '00' WHERE version = 1")
        self.refused("migration 1 (0001_base) in the database is not the one of this program")

    def test_renamed_row(self):
        self.change("UPDATE schema_migrations SET name = '0001_other' WHERE version = 1")
        self.refused("migration 1", "is not the one of this program")

    def test_missing_row(self):
        self.change("DELETE FROM schema_migrations WHERE version = 1")
        self.refused("the database lacks migration 1")

    def test_newer(self):
        version = self.ask("SELECT MAX(version) FROM schema_migrations")
        self.change(f"INSERT INTO schema_migrations VALUES ({version + 1}, '0099_later', 'aa', 0)")
        self.refused(f"the database is at schema version {version + 1}", "newer testudo")

    def test_the_damage_undone(self):
        """The refusal is of the damage, not of what looking at it did."""
        good = self.ask("SELECT sha256 FROM schema_migrations WHERE version = 1")
        self.change("UPDATE schema_migrations SET sha256 = '00' WHERE version = 1")
        self.refused("migration 1")
        self.change(f"UPDATE schema_migrations SET sha256 = '{good}' WHERE version = 1")
        self.server.start()

    def test_another_programs(self):
        self.change("ALTER TABLE schema_migrations RENAME TO elsewhere", *(
            [] if self.server.database_name else ["PRAGMA application_id = 7"]))
        self.refused("another program")

    def test_not_a_database(self):
        if self.server.database_name:
            self.skipTest("SQLite alone has a file")
        with open(os.path.join(self.server.dir, "testudo.db"), "r+b") as f:
            f.write(b"not a database at all")
        self.refused("is damaged or not a database")


if __name__ == "__main__":
    unittest.main()
