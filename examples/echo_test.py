"""Runs echo_server as a user would, and treats it badly.

Usage: echo_test.py ECHO_SERVER ECHO_CLIENT
"""

import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

SERVER, CLIENT = sys.argv[1:3]


class Server:
    """A running echo_server on a free port."""

    def __init__(self, *flags, files=None):
        def limit():
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        self.process = subprocess.Popen(
            [SERVER, "--port=0", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limit,
        )
        self.line = self.process.stdout.readline()
        match = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+) \((\d+) hubs\)\n", self.line)
        assert match, (self.line, self.process.stderr.read())
        self.port = int(match[1])
        self.hubs = int(match[2])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return s

    def ask(self, s, data=b"hello"):
        s.sendall(data)
        got = b""
        while len(got) < len(data):
            part = s.recv(65536)
            if not part:
                break
            got += part
        return got

    def stop(self, signum=signal.SIGTERM):
        """Its exit status and what it said last."""
        self.process.send_signal(signum)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class EchoTest(unittest.TestCase):
    def test_echoes_and_says_what_it_served(self):
        with Server() as server:
            self.assertEqual(server.hubs, len(os.sched_getaffinity(0)))
            with server.connect() as a, server.connect() as b:
                self.assertEqual(server.ask(a, b"x" * 100000), b"x" * 100000)
                self.assertEqual(server.ask(b), b"hello")
            code, out, err = server.stop()
            self.assertEqual((code, err), (0, ""))
            self.assertEqual(out, "served 2 connections and 100005 bytes\n")

    def test_sigint_ends_it_as_well(self):
        with Server() as server:
            self.assertEqual(server.stop(signal.SIGINT)[0], 0)

    def test_each_hub_serves(self):
        with Server("--hubs=3") as server:
            self.assertEqual(server.hubs, 3)
            connections = [server.connect() for _ in range(60)]
            for c in connections:
                self.assertEqual(server.ask(c), b"hello")
            for c in connections:
                c.close()
            code, out, _ = server.stop()
            self.assertEqual((code, out), (0, "served 60 connections and 300 bytes\n"))

    def test_echo_client_checks_every_byte(self):
        with Server("--hubs=2") as server:
            run = subprocess.run(
                [CLIENT, f"--port={server.port}", "--connections=20", "--seconds=1"],
                capture_output=True,
                text=True,
                timeout=60,
            )
            self.assertEqual(run.returncode, 0, run)
            requests = int(re.match(r"(\d+) requests in ", run.stdout)[1])
            self.assertGreater(requests, 0)
            self.assertRegex(run.stdout, r"latency: p50 \d+ us, p99 \d+ us, p99\.9 \d+ us")
            _, out, _ = server.stop()
            self.assertEqual(
                out, f"served 20 connections and {requests * 512} bytes\n"
            )

    def test_echo_client_tells_of_wrong_answers(self):
        listener = socket.create_server(("127.0.0.1", 0))

        def answer_wrongly():
            s, _ = listener.accept()
            with s:
                s.recv(512, socket.MSG_WAITALL)
                s.sendall(b"?" * 512)
                s.recv(1)

        thread = threading.Thread(target=answer_wrongly)
        thread.start()
        run = subprocess.run(
            [CLIENT, f"--port={listener.getsockname()[1]}", "--connections=1", "--seconds=1"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        thread.join()
        listener.close()
        self.assertEqual(run.returncode, 1)
        self.assertIn("got what it did not send", run.stdout)

    def test_bad_flags_are_one_clear_line_and_exit_2(self):
        with Server() as server:
            for flags, word in [
                ([f"--port={server.port}"], f"127.0.0.1:{server.port}: Address already in use"),
                (["--host=not-an-address"], '"not-an-address"'),
                (["--host=192.0.2.1", "--port=0"], "Cannot assign requested address"),
                (["--hubs=0"], "--hubs=0"),
                (["--hubs=-1"], "--hubs=-1"),
                (["--port=65536"], "--port=65536"),
                (["--grace=-1s"], "--grace=-1s: less than none"),
                (["surplus"], '"surplus"'),
            ]:
                run = subprocess.run(
                    [SERVER, *flags], capture_output=True, text=True, timeout=30
                )
                self.assertEqual(run.returncode, 2, (flags, run))
                self.assertIn(word, run.stderr)
                self.assertEqual(run.stderr.count("\n"), 1, run.stderr)
                self.assertEqual(run.stdout, "")

    def test_unreadable_flags_exit_2(self):
        for flags in [["--hubs=many"], ["--no_such_flag"], ["--grace=soon"]]:
            run = subprocess.run([SERVER, *flags], capture_output=True, text=True, timeout=30)
            self.assertEqual(run.returncode, 2, (flags, run))
            self.assertIn(flags[0][2:].split("=")[0], run.stderr)

    def test_stopping_finishes_what_has_arrived(self):
        with Server("--grace=20s") as server:
            idle = server.connect()
            self.assertEqual(server.ask(idle), b"hello")
            code, out, _ = server.stop()
            self.assertEqual(code, 0)
            self.assertIn("served 1 connections", out)
            self.assertEqual(idle.recv(1), b"")
            idle.close()

    def test_who_does_not_end_is_cut_after_the_grace(self):
        with Server("--grace=100ms", "--hubs=1") as server:
            deaf = server.connect()
            # It never reads: the server waits to write, grace or not.
            deaf.setblocking(False)
            deadline = time.monotonic() + 20
            quiet = 0
            while quiet < 100 and time.monotonic() < deadline:
                try:
                    deaf.send(b"x" * 65536)
                    quiet = 0
                except BlockingIOError:
                    quiet += 1
                    time.sleep(0.02)
            code, out, _ = server.stop()
            self.assertEqual(code, 0)
            self.assertIn("1 connections were cut after 100ms", out)
            deaf.close()

    def test_a_second_signal_ends_it_at_once(self):
        with Server("--grace=1h", "--hubs=1") as server:
            deaf = server.connect()
            deaf.settimeout(2)
            try:
                while True:
                    deaf.send(b"x" * 65536)
            except TimeoutError:
                pass
            server.process.send_signal(signal.SIGTERM)
            # The first one has been taken once it accepts no more.
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                try:
                    server.connect().close()
                    time.sleep(0.01)
                except ConnectionError:
                    break
            code, _, err = server.stop(signal.SIGTERM)
            self.assertEqual(code, 128 + signal.SIGTERM)
            self.assertIn("second signal", err)
            deaf.close()

    def test_bad_clients_end_only_their_own_connection(self):
        with Server("--hubs=1") as server:
            good = server.connect()
            self.assertEqual(server.ask(good), b"hello")
            # One resets,
            resets = server.connect()
            server.ask(resets)
            resets.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            resets.sendall(b"x" * 100000)
            resets.close()
            # one ends its half and still gets its answer,
            half = server.connect()
            half.sendall(b"last words")
            half.shutdown(socket.SHUT_WR)
            got = b""
            while part := half.recv(100):
                got += part
            self.assertEqual(got, b"last words")
            half.close()
            # and one stops reading.
            deaf = server.connect()
            deaf.settimeout(0.2)
            try:
                while True:
                    deaf.send(b"x" * 65536)
            except TimeoutError:
                pass
            self.assertEqual(server.ask(good, b"still here"), b"still here")
            deaf.close()
            good.close()
            self.assertEqual(server.stop()[0], 0)

    def test_exhausted_descriptors_neither_spin_nor_crash(self):
        with Server("--hubs=1", files=64) as server:
            clients = [server.connect() for _ in range(200)]
            self.assertEqual(server.ask(clients[0]), b"hello")
            # It must sit this out and not burn the processor: a loop that spins would use
            # all of these two seconds.
            before = server.cpu_seconds()
            time.sleep(2)
            self.assertLess(server.cpu_seconds() - before, 0.1)
            # Descriptors return, and those that waited are served.
            for c in clients[:150]:
                c.close()
            for c in clients[150:]:
                self.assertEqual(server.ask(c), b"hello")
                c.close()
            code, _, err = server.stop()
            self.assertEqual(code, 0)
            self.assertIn("Too many open files", err)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
