"""postgres_pool with a PostgreSQL that this test starts, and whose sessions it kills.

Usage: postgres_pool_test.py POSTGRES_POOL
"""

import glob
import os
import pwd
import re
import subprocess

import testing
from testing import PROGRAMS, Peer, Process, free_port, run, tool


def not_as_root():
    """PostgreSQL does not run as root; a user namespace gives it another name."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    return [tool("unshare"), "--user", f"--map-user={user.pw_uid}",
            f"--map-group={user.pw_gid}"]


class PostgresPoolTest(testing.ExampleTest):
    @classmethod
    def setUpClass(cls):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        assert found, "PostgreSQL is not installed (package postgresql)"
        cls.programs = found[-1]
        cls.port = free_port()
        data = testing.temporary_folder() + "/data"
        command = not_as_root() + [cls.programs + "/initdb", "-D", data, "-A", "trust", "-U",
                                   "me", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, timeout=testing.PATIENCE)
        serve = not_as_root() + [cls.programs + "/postgres"]
        cls.server = Peer(
            *serve, "-D", data, "-k", "", "-p", str(cls.port),
            "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
            "-c", "shared_buffers=16MB", "-c", "huge_pages=off", "-c", "autovacuum=off",
            port=cls.port)
        cls.addClassCleanup(cls.server.__exit__)
        cls.target = f"host=127.0.0.1 port={cls.port} user=me dbname=postgres"
        testing.wait_until(
            lambda: run(cls.programs + "/pg_isready", "-q", "-d", cls.target,
                        status=None).returncode == 0, "PostgreSQL is ready")

    def sql(self, text):
        return run(self.programs + "/psql", self.target, "-At", "-c", text).stdout.strip()

    def parse(self, out):
        match = re.fullmatch(
            r"(\d+) queries by (\d+) sessions; (\d+) were discarded, (\d+) found broken\n", out)
        assert match, out
        return [int(n) for n in match.groups()]

    def test_many_greenlets_over_few_connections(self):
        done = run(PROGRAMS[0], f"--connection={self.target}", "--pool=3", "--queries=500")
        self.assertEqual(self.parse(done.stdout), [500, 3, 0, 0])

    def test_queries_wait_side_by_side(self):
        """All sleep on the server at once, though the program has one thread."""
        with Process(PROGRAMS[0], f"--connection={self.target} application_name=side",
                     "--pool=20", "--queries=20", "--work=2s") as p:
            testing.wait_until(
                lambda: self.sql("SELECT count(*) FROM pg_stat_activity WHERE "
                                 "application_name = 'side' AND state = 'active'") == "20",
                "all of them are on their way")
            code, out, err = p.end()
            self.assertEqual((code, err), (0, ""))
            self.assertEqual(self.parse(out), [20, 20, 0, 0])

    def test_sessions_that_end_are_replaced(self):
        with Process(PROGRAMS[0], f"--connection={self.target} application_name=killed",
                     "--pool=3", "--queries=300", "--work=10ms", "--tries=1000") as p:
            ended = 0
            while ended < 9 and p.process.poll() is None:
                ended += int(self.sql(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE application_name = 'killed' AND state = 'active'"))
            code, out, err = p.end()
            self.assertEqual(code, 0)
            # libpq itself says it of one that ends before the program has it.
            said = "FATAL:  terminating connection due to administrator command"
            self.assertLessEqual(set(err.splitlines()), {said})
            # More than the pool holds were ended within a query, and yet all were answered.
            queries, _, discarded, broken = self.parse(out)
            self.assertEqual(queries, 300)
            self.assertGreater(ended, 3)
            self.assertGreater(discarded + broken, 0)

    def test_errors_are_told(self):
        nobody = f"host=127.0.0.1 port={free_port()}"
        done = run(PROGRAMS[0], f"--connection={nobody}", "--queries=2", status=1)
        self.assertRegex(done.stderr, "^postgres_pool: UNAVAILABLE: .*Connection refused")
        done = run(PROGRAMS[0], f"--connection={self.target}", "--pool=1", "--queries=2",
                   "--work=1s", "--patience=50ms", status=1)
        self.assertRegex(done.stderr, "^postgres_pool: DEADLINE_EXCEEDED: ")

    def test_flags(self):
        self.explains("--connection", "--pool", "--tries")
        self.refuses("--pool=0", "--greenlets=0", "--tries=0", "--patience=x")


testing.main()
