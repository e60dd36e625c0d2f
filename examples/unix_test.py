"""unix_server and unix_client, with each other, with socat, and with Python's sockets.

Usage: unix_test.py UNIX_SERVER UNIX_CLIENT
"""

import array
import os
import signal
import socket
import stat
import threading

import testing
from testing import PATIENCE, PROGRAMS, Server, read_to_end, run, tool

CLIENT = PROGRAMS[1]


class UnixTest(testing.ExampleTest):
    def setUp(self):
        # As short as it gets: a socket's path has at most 107 bytes.
        self.folder = os.path.relpath(testing.temporary_folder())
        self.path = self.folder + "/s"
        self.file = self.folder + "/file"
        with open(self.file, "w") as f:
            f.write("x" * 123)

    def server(self, *flags):
        return Server(f"--listen={self.path}", *flags)

    def connect(self, path=None):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(PATIENCE)
        s.connect(path or self.path)
        return s

    def test_both(self):
        with self.server():
            done = run(CLIENT, f"--to={self.path}", self.file, self.folder)
            lines = done.stdout.splitlines()
            self.assertRegex(lines[0], rf"^hello, user {os.getuid()} of process \d+$")
            self.assertEqual(lines[1], f"{self.file}: a file of 123 bytes")
            self.assertRegex(lines[2], rf"^{self.folder}: a folder of \d+ bytes$")

    def test_an_abstract_name(self):
        name = f"@grove-test-{os.getpid()}"
        with Server(f"--listen={name}") as server:
            self.assertEqual(server.address, name)
            done = run(CLIENT, f"--to={name}", self.file)
            self.assertIn("a file of 123 bytes", done.stdout)

    def test_socat(self):
        with self.server():
            done = run(tool("socat"), "-t60", "-", f"UNIX-CONNECT:{self.path}", input="what?\n")
            self.assertRegex(done.stdout, r"^hello, user \d+ of process \d+\nwhat\?\n$")

    def test_it_knows_who_asks(self):
        with self.server() as server, self.connect() as s:
            self.assertEqual(
                s.makefile().readline(), f"hello, user {os.getuid()} of process {os.getpid()}\n")
        with self.server(f"--allow_uid={os.getuid() + 1}"), self.connect() as s:
            self.assertEqual(read_to_end(s), b"you may not\n")

    def test_more_descriptors_than_it_takes_are_closed(self):
        with self.server() as server:
            def open_there():
                return len(os.listdir(f"/proc/{server.process.pid}/fd"))

            with self.connect() as s:
                self.assertTrue(s.recv(1000).startswith(b"hello"))
                before = open_there()
                r, w = os.pipe()
                socket.send_fds(s, [b"x"], [r] * 16)
                got = b""
                while got.count(b"\n") < 16:
                    got += s.recv(1000)
                self.assertEqual(got, b"a pipe of 0 bytes\n" * 16)
                self.assertEqual(open_there(), before)
                socket.send_fds(s, [b"x"], [r] * 17)
                self.assertEqual(read_to_end(s), b"")
                os.close(r), os.close(w)
            testing.wait_until(lambda: open_there() < before, "all are closed")
            self.assertIn("RESOURCE_EXHAUSTED", server.stop()[2])

    def test_its_file(self):
        with self.server("--mode=0640") as server:
            self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o640)
            # A living one is not pushed aside, and a dead one is no obstacle.
            other = run(PROGRAMS[0], f"--listen={self.path}", status=2)
            self.assertIn("in use", other.stderr)
            server.process.kill()
            server.process.wait()
        self.assertTrue(os.path.exists(self.path))
        with self.server() as server:
            self.assertEqual(server.stop(signal.SIGINT), (0, "", ""))
        self.assertFalse(os.path.exists(self.path))
        other = run(PROGRAMS[0], f"--listen={self.file}", status=2)
        self.assertEqual(other.stderr.count("\n"), 1, other.stderr)
        self.assertTrue(os.path.exists(self.file))

    def test_the_client_with_python(self):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path)
            listener.listen()
            sent = []

            def serve():
                c, _ = listener.accept()
                with c:
                    c.sendall(b"hi\n")
                    data, fds, _, _ = socket.recv_fds(c, 100, 10)
                    sent.extend(os.read(fd, 1000) for fd in fds)
                    for fd in fds:
                        os.close(fd)
                    c.sendall(b"thanks\n")

            t = threading.Thread(target=serve)
            t.start()
            done = run(CLIENT, f"--to={self.path}", self.file)
            t.join()
            self.assertEqual(done.stdout, f"hi\n{self.file}: thanks\n")
            self.assertEqual(sent, [b"x" * 123])

            # And one that says nothing.
            done = run(CLIENT, f"--to={self.path}", "--timeout=50ms", self.file, status=1)
            self.assertRegex(done.stderr, "^unix_client: DEADLINE_EXCEEDED: .*\n$")

    def test_flags(self):
        self.explains("--listen", "--mode", "--allow_uid")
        self.refuses("--mode=9", "--mode=1000", "--listen=", "--listen=" + "x" * 200)
        self.explains("--to", "--timeout", program=CLIENT)
        self.refuses("--to=", "--timeout=x", program=CLIENT)
        for words in [[f"--to={self.folder}/nobody"]]:
            done = run(CLIENT, *words, status=1)
            self.assertIn("No such file or directory", done.stderr)


testing.main()
