"""dns_mass_resolve asks dnsmasq for a thousand names, and one that does not answer.

Usage: dns_mass_resolve_test.py DNS_MASS_RESOLVE
"""

import socket
import subprocess
import tempfile

import testing
from testing import PATIENCE, PROGRAMS, Peer, free_port, run

COUNT = 1000


class DnsMassResolveTest(testing.ExampleTest):
    @classmethod
    def setUpClass(cls):
        cls.port = free_port()
        folder = testing.temporary_folder()
        with open(folder + "/hosts", "w") as f:
            for i in range(COUNT):
                f.write(f"10.0.{i // 250}.{i % 250 + 1} host{i}.test\n")
            f.write("2001:db8::1 host7.test\n")
        cls.dnsmasq = Peer(
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
            "--no-hosts", f"--addn-hosts={folder}/hosts", f"--port={cls.port}",
            "--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file=", "--user=",
            "--group=", "--local=/test/", "--dns-forward-max=10000", port=cls.port)

    @classmethod
    def tearDownClass(cls):
        cls.dnsmasq.__exit__()

    def look_up(self, text, *flags, status=0):
        done = run(PROGRAMS[0], f"--server=127.0.0.1:{self.port}", "--timeout=30s", *flags,
                   input=text, status=status)
        lines = [l.split(" ", 1) for l in done.stdout.splitlines()]
        self.assertEqual(len(lines), len({l[0] for l in lines}), "each once")
        return dict(lines), done.stderr

    def test_a_thousand_names(self):
        names = "".join(f"host{i}.test\n" for i in range(COUNT))
        # No more than its socket has room for: each is two questions.
        for at_once in [1, 30, 100]:
            with self.subTest(at_once=at_once):
                got, err = self.look_up(names, f"--at_once={at_once}")
                self.assertEqual(set(got.pop("host7.test").split()), {"10.0.0.8", "2001:db8::1"})
                self.assertEqual(got, {f"host{i}.test": f"10.0.{i // 250}.{i % 250 + 1}"
                                       for i in range(COUNT) if i != 7})
                self.assertEqual(err, f"{COUNT} found, 0 without an address, 0 failed\n")

    def test_names_that_are_none(self):
        got, err = self.look_up("host1.test\n\n  nobody.test \r\nhost2.test")
        self.assertEqual(got["host1.test"], "10.0.0.2")
        self.assertEqual(got["host2.test"], "10.0.0.3")
        self.assertRegex(got["nobody.test"], r"^! .*no such name")
        self.assertEqual(err, "2 found, 1 without an address, 0 failed\n")
        got, err = self.look_up("a..b\nhost1.test\n", status=1)
        self.assertIn("nothing before a dot", got["a..b"])
        self.assertEqual(err, "1 found, 0 without an address, 1 failed\n")

    def test_names_in_a_file(self):
        with tempfile.TemporaryFile("w+") as f:
            f.write("host1.test\nhost2.test\n")
            f.flush()
            f.seek(0)
            out = subprocess.run(
                [PROGRAMS[0], f"--server=127.0.0.1:{self.port}"], stdin=f,
                capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(out.returncode, 0, out)
            self.assertEqual(sorted(out.stdout.splitlines()),
                             ["host1.test 10.0.0.2", "host2.test 10.0.0.3"])

    def test_a_server_that_is_silent(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            got, err = self.look_up(
                "".join(f"host{i}.test\n" for i in range(200)), "--at_once=200",
                f"--server=127.0.0.1:{silent.getsockname()[1]}", "--timeout=200ms", status=1)
            self.assertEqual(len(got), 200)
            self.assertEqual(err, "0 found, 0 without an address, 200 failed\n")

    def test_flags(self):
        self.explains("--at_once", "--server", "--timeout")
        self.refuses("--at_once=0", "--server=x", "--timeout=x", "word")


testing.main()
