"""What tests of examples have in common: programs, their peers, ports, files.

A test is given where its programs are: PROGRAMS. Whatever is started here is ended, by
its pid, when its `with` ends.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAMS = sys.argv[1:]
# Only there so that a failure ends.
PATIENCE = 40


def temporary_folder():
    return tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))


def free_port(kind=socket.SOCK_STREAM):
    """A port at which nobody listens just now.

    None of those that the system gives out by itself: of these, another test's connection
    may have it before who is to listen there does."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        first, last = map(int, f.read().split())
    every = range(10_000, 65_536)
    mine = [port for port in every if not first <= port <= last] or every
    while True:
        with socket.socket(socket.AF_INET, kind) as s:
            port = random.choice(mine)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def read_to_end(s):
    got = b""
    while part := s.recv(65536):
        got += part
    return got


def is_reset(port):
    """Whether a connection to it is ended by a reset; it may be while it is made."""
    try:
        with connect(port) as s:
            read_to_end(s)
    except ConnectionResetError:
        return True
    return False


def tool(name):
    """Where a program of the distribution is; says so if it is not."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin")
    if path is None:
        sys.exit(f"this test needs '{name}', which is not installed (tools/packages.txt)")
    return path


def run(program, *words, input=None, status=0):
    """What a program that ends by itself has written: a CompletedProcess, in text.

    Bytes that are none are replaced: s_client also prints what the peer sends."""
    done = subprocess.run([program, *words], input=input, capture_output=True, text=True,
                          errors="replace", timeout=PATIENCE)
    if status is not None and done.returncode != status:
        raise AssertionError(f"{done.args}: exit status {done.returncode}, not {status}\n"
                             f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def curl(*words, data=None):
    """What curl has written, in bytes; it has to succeed."""
    done = subprocess.run(
        [tool("curl"), "--silent", "--show-error", "--max-time", str(PATIENCE), *words],
        input=data, capture_output=True, timeout=2 * PATIENCE)
    assert done.returncode == 0, (done.args, done.returncode, done.stderr)
    return done


class Process:
    """A program that runs until it is told to stop. stderr goes to a file."""

    def __init__(self, *command, **options):
        self.err_file = tempfile.TemporaryFile("w+", dir=os.environ.get("TEST_TMPDIR"))
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.err_file, text=True, **options
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.err_file.close()

    def line(self):
        return self.process.stdout.readline()

    def errors(self):
        # The program's own place in the file stays where it is.
        return os.pread(self.err_file.fileno(), 1 << 24, 0).decode(errors="replace")

    def stop(self, signum=signal.SIGTERM):
        """Its exit status, and what it has said since."""
        self.process.send_signal(signum)
        return self.end()

    def end(self):
        out, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, self.errors()


class Server(Process):
    """An example that says "listening on ..." once it does."""

    def __init__(self, *flags, program=None, **options):
        super().__init__(program or PROGRAMS[0], *flags, **options)
        line = self.line()
        match = re.fullmatch(r"listening on (\S+?)(:(\d+))?( \(\d+ hubs\))?\n", line)
        assert match, (line, self.errors())
        self.address = match[1] + (match[2] or "")
        self.port = int(match[3] or 0)


class Peer(Process):
    """Somebody else's server on a port of this machine; returns once that is open."""

    def __init__(self, *command, port, **options):
        super().__init__(tool(command[0]), *command[1:], **options)
        try:
            wait_until(lambda: self.listens(port), f"{command[0]} listens on port {port}")
        except BaseException:
            self.__exit__()
            raise

    def listens(self, port):
        assert self.process.poll() is None, (self.process.args, self.end())
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0


def wait_until(true, what):
    """For what nobody tells of: looks again and again."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)


def nginx(folder, port, server, http=""):
    """nginx with these lines in its one `server`, and its root in `folder`."""
    config = folder + "/nginx.conf"
    with open(config, "w") as f:
        f.write(f"""{"user root;" if os.geteuid() == 0 else ""}
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log {folder}/access.log; root {folder}; {http}
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ {server} }}
}}
""")
    return Peer("nginx", "-c", config, "-e", folder + "/error.log", port=port)


def redis(port):
    """A redis-server that keeps nothing."""
    return Peer("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                "--appendonly", "no", "--dir", temporary_folder(), port=port)


def certificate(folder):
    """cert.pem and key.pem of 127.0.0.1 and localhost, in `folder`."""
    run(tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder + "/key.pem",
        "-out", folder + "/cert.pem", "-days", "2", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    return folder + "/cert.pem", folder + "/key.pem"


class ExampleTest(unittest.TestCase):
    def refuses(self, *flags, program=None, but=()):
        """Each of these is one clear line on stderr, and exit status 2."""
        for flag in flags:
            with self.subTest(flag):
                done = run(program or PROGRAMS[0], *but, flag, status=2)
                self.assertEqual(done.stdout, "")
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def explains(self, *words, program=None):
        """--help names these."""
        text = run(program or PROGRAMS[0], "--help", status=0).stdout
        for word in words:
            self.assertIn(word, text)


def main():
    unittest.main(argv=sys.argv[:1], verbosity=2)
