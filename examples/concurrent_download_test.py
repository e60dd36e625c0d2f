"""concurrent_download with nginx, a server that stops in the midst, and a terminal.

Usage: concurrent_download_test.py CONCURRENT_DOWNLOAD
"""

import glob
import os
import pty
import re
import socket
import subprocess
import threading

import testing
from testing import PATIENCE, PROGRAMS, Process, free_port, run

PROGRAM = PROGRAMS[0]


class Slow:
    """Answers one request with half of what it promises, and the rest when it is told."""

    def __init__(self, rest):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/slow.bin"
        self.rest = rest
        self.go = threading.Event()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        c, _ = self.listener.accept()
        with c:
            c.recv(65536)
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 1000000)
            self.go.wait(PATIENCE)
            c.sendall(self.rest)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.go.set()
        self.thread.join()
        self.listener.close()


class ConcurrentDownloadTest(testing.ExampleTest):
    @classmethod
    def setUpClass(cls):
        cls.www = testing.temporary_folder()
        cls.files = {f"f{i}.bin": os.urandom(i * 300_000) for i in range(8)}
        for name, data in cls.files.items():
            with open(f"{cls.www}/{name}", "wb") as f:
                f.write(data)
        cls.cert, key = testing.certificate(cls.www)
        cls.plain, cls.secure = free_port(), free_port()
        cls.nginx = testing.nginx(cls.www, cls.plain, f"""
            listen 127.0.0.1:{cls.plain}; listen 127.0.0.1:{cls.secure} ssl;
            ssl_certificate {cls.cert}; ssl_certificate_key {key};""")

    @classmethod
    def tearDownClass(cls):
        cls.nginx.__exit__()

    def setUp(self):
        self.folder = testing.temporary_folder()

    def url(self, name):
        return f"http://127.0.0.1:{self.plain}/{name}"

    def test_every_byte(self):
        for at_once in [1, 8]:
            for base in [f"http://127.0.0.1:{self.plain}", f"https://localhost:{self.secure}"]:
                with self.subTest(base=base, at_once=at_once):
                    folder = testing.temporary_folder()
                    done = run(PROGRAM, f"--folder={folder}", f"--at_once={at_once}",
                               f"--ca_file={self.cert}", *[f"{base}/{n}" for n in self.files])
                    self.assertEqual(sorted(os.listdir(folder)), sorted(self.files))
                    for name, data in self.files.items():
                        with open(f"{folder}/{name}", "rb") as f:
                            self.assertTrue(f.read() == data)
                    self.assertEqual(sorted(done.stdout.splitlines()), sorted(
                        f"{n}: done, {len(d)} bytes" for n, d in self.files.items()))

    def test_what_fails_leaves_nothing(self):
        with open(self.folder + "/none", "w") as f:
            f.write("of before")
        with Slow(b"") as slow:
            slow.go.set()
            done = run(PROGRAM, f"--folder={self.folder}", self.url("f1.bin"), self.url("none"),
                       slow.url, f"http://127.0.0.1:{free_port()}/nobody", status=1)
        self.assertIn("f1.bin: done, 300000 bytes\n", done.stdout)
        self.assertIn("none: NOT_FOUND: the server says 404", done.stdout)
        self.assertRegex(done.stdout, r"slow.bin: DATA_LOSS: .*, 1000000 bytes")
        self.assertIn("Connection refused", done.stdout)
        self.assertEqual(sorted(os.listdir(self.folder)), ["f1.bin", "none"])
        with open(self.folder + "/none") as f:
            self.assertEqual(f.read(), "of before")

    def test_a_signal_leaves_nothing(self):
        with Slow(b"") as slow, Process(PROGRAM, f"--folder={self.folder}", slow.url) as p:
            testing.wait_until(
                lambda: glob.glob(self.folder + "/.slow.bin.*.part"), "it has begun")
            self.assertEqual(p.stop(), (128 + 15, "", ""))
            self.assertEqual(os.listdir(self.folder), [])

    def test_a_server_that_stalls_is_given_up(self):
        with Slow(b"") as slow:
            done = run(PROGRAM, f"--folder={self.folder}", "--stall=100ms", slow.url, status=1)
            self.assertIn("slow.bin: DEADLINE_EXCEEDED", done.stdout)

    def test_bars_on_a_terminal(self):
        with Slow(b"x" * 1000000) as slow:
            master, terminal = pty.openpty()
            p = subprocess.Popen([PROGRAM, f"--folder={self.folder}", slow.url,
                                  self.url("f7.bin")], stdout=terminal)
            os.close(terminal)
            seen = ""
            while True:
                try:
                    part = os.read(master, 65536).decode()
                except OSError:  # how the end of a terminal looks
                    break
                seen += part
                if re.search(r"slow.bin +\[#{10} {10}\]  50% +1.0 MiB  loads", seen):
                    slow.go.set()
            self.assertEqual(p.wait(PATIENCE), 0)
            os.close(master)
            last = seen.rsplit("\x1b[2A", 1)[1]
            self.assertRegex(last, r"slow.bin +\[#{20}\] 100% +1.9 MiB  done\x1b\[K\r\n"
                                   r"f7.bin +\[#{20}\] 100% +2.0 MiB  done\x1b\[K\r\n$")

    def test_flags(self):
        self.explains("--folder", "--at_once", "--ca_file", "--stall")
        self.refuses("--at_once=0", "ftp://a/b", "http://127.0.0.1/b/a", "http://127.0.0.1/.x",
                     "--ca_file=/none", but=("http://127.0.0.1/a",))
        self.refuses("--folder=/tmp")


testing.main()
