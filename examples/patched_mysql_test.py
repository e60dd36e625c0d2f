"""patched_mysql with a MariaDB that this test starts.

Usage: patched_mysql_test.py PATCHED_MYSQL
"""

import getpass
import socket

import testing
from testing import PROGRAMS, Peer, Process, free_port, run


class PatchedMysqlTest(testing.ExampleTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = testing.temporary_folder()
        cls.port = free_port()
        # An empty folder is enough for a server that asks nobody who they are.
        cls.server = Peer(
            "mariadbd", "--no-defaults", f"--datadir={cls.folder}",
            f"--user={getpass.getuser()}", f"--pid-file={cls.folder}/pid", "--socket=socket",
            "--bind-address=127.0.0.1", f"--port={cls.port}", "--skip-grant-tables",
            "--max-connections=300", "--innodb-use-native-aio=0",
            "--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M",
            "--innodb-data-file-path=ibdata1:4M:autoextend", "--performance-schema=OFF",
            port=cls.port)
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def mysql(self, statement, *words, status=0):
        return run(PROGRAMS[0], f"--statement={statement}", *words, status=status)

    def test_rows(self):
        at = f"127.0.0.1:{self.port}"
        done = self.mysql("SELECT 1, 'two', NULL UNION SELECT 3, 'four', ''", at)
        self.assertEqual(done.stdout, f"{at}\t1\ttwo\tNULL\n{at}\t3\tfour\t\n")
        self.assertEqual(self.mysql("DO 1", at).stdout, "")
        named = f"localhost:{self.port}"
        done = self.mysql(r"SELECT 'a\tb\nc\\d\0e'", named)
        self.assertEqual(done.stdout, named + "\ta\\tb\\nc\\\\d\\0e\n")

    def test_all_at_once_on_one_thread(self):
        """All wait for a lock whose holder waits until they do."""
        count = 100
        at = f"127.0.0.1:{self.port}"
        hold = ("BEGIN NOT ATOMIC DO GET_LOCK('gate', 60); WHILE (SELECT COUNT(*) FROM "
                "information_schema.processlist WHERE state = 'User lock') < "
                f"{count} DO DO SLEEP(0.01); END WHILE; DO RELEASE_LOCK('gate'); END")
        with Process(PROGRAMS[0], "--timeout=60s", f"--statement={hold}", at) as holder:
            testing.wait_until(
                lambda: self.mysql("SELECT IS_FREE_LOCK('gate')", at).stdout.endswith("\t0\n"),
                "it is held")
            done = self.mysql("SELECT GET_LOCK('gate', 60), RELEASE_LOCK('gate')",
                              "--timeout=60s", f"--at_once={count}", *[at] * count)
            self.assertEqual(holder.end(), (0, "", ""))
        self.assertEqual(done.stdout, f"{at}\t1\t1\n" * count)

    def test_what_fails(self):
        at = f"127.0.0.1:{self.port}"
        done = self.mysql("SELECT * FROM nowhere.nothing", at, status=1)
        self.assertRegex(done.stderr, rf"^{at}: ")
        nobody = f"127.0.0.1:{free_port()}"
        # What works is done all the same.
        done = self.mysql("SELECT 5", nobody, at, status=1)
        self.assertEqual(done.stdout, f"{at}\t5\n")
        self.assertIn(f"{nobody}: Can't connect", done.stderr)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            done = self.mysql("SELECT 5", "--timeout=1s", f"127.0.0.1:{port}", status=1)
            self.assertIn(f"127.0.0.1:{port}: ", done.stderr)

    def test_flags(self):
        self.explains("--statement", "--user", "--at_once", "--timeout", "MYSQL_PWD")
        self.refuses("--at_once=0", "--timeout=100ms", but=("--statement=x", "127.0.0.1"))
        self.refuses("--statement=x")
        self.refuses("127.0.0.1")
        self.refuses("127.0.0.1:70000", "127.0.0.1:x", but=("--statement=x",))


testing.main()
