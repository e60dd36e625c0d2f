"""Runs the programs of the pages, as a reader would who has copied them.

Usage: programs_test.py CLASS PROGRAM...    the tests of that class
"""

import os
import signal
import socket
import subprocess
import sys
import time
import unittest

PROGRAMS = {os.path.basename(path): path for path in sys.argv[2:]}


def listening_port(pid):
    """The port of 127.0.0.1 on which a process listens; None if there is none yet."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass
    for family in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{family}", encoding="ascii") as table:
            for line in table.readlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                    return int(fields[1].split(":")[1], 16)
    return None


class ProgramTest(unittest.TestCase):
    def serve(self, name):
        process = subprocess.Popen([PROGRAMS[name]])
        self.process = process
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        # The kernel says when it listens; whoever hangs is ended by the test's own limit.
        while (port := listening_port(process.pid)) is None:
            self.assertIsNone(process.poll())
            time.sleep(0.01)
        return port


class Servers(ProgramTest):
    def test_readme(self):
        port = self.serve("readme")
        with socket.create_connection(("127.0.0.1", port)) as first:
            with socket.create_connection(("127.0.0.1", port)) as second:
                for s in (second, first):
                    s.sendall(b"hello")
                    self.assertEqual(s.recv(5, socket.MSG_WAITALL), b"hello")
                second.shutdown(socket.SHUT_WR)
                self.assertEqual(second.recv(1), b"")

    def test_first_server(self):
        port = self.serve("first_server")
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(b"hello\nworld\n")
            self.assertEqual(s.recv(12, socket.MSG_WAITALL), b"HELLO\nWORLD\n")
            # It ends once this connection has: its end is told to the client.
            self.process.send_signal(signal.SIGTERM)
            self.assertEqual(s.recv(1), b"")
        self.assertEqual(self.process.wait(), 0)


class Grpc(ProgramTest):
    def test_asks_and_is_refused(self):
        port = self.serve("ask_server")

        def ask(text):
            client = subprocess.run([PROGRAMS["ask_client"], f"127.0.0.1:{port}", text],
                                    stdout=subprocess.PIPE, text=True, check=False)
            return client.returncode, client.stdout

        self.assertEqual(ask("why"), (0, "you ask: why\n"))
        self.assertEqual(ask(""), (1, "what?\n"))
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(), 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:2])
