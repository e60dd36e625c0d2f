"""Runs the gRPC server and client, and calls the server by Python's grpcio.

grpcio knows nothing of demo.proto here: what it needs it asks the server for, by
reflection. Health and reflection are asked by their messages' bytes, since Debian has no
package with their classes.

Usage: grpc_test.py SERVER CLIENT PLAIN_SERVER
"""

import os
import re
import signal
import socketserver
import subprocess
import sys
import threading
import time
import unittest

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVER, CLIENT, PLAIN_SERVER = sys.argv[1:4]
DEMO = "grove.examples.Demo"
LIMIT = 60  # seconds; only so that a failure ends


class Server:
    """A running server on a free port, with a channel to it."""

    def __init__(self, *flags, command=(SERVER, "--port=0")):
        self.process = subprocess.Popen(
            [*command, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        match = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)( \(\d+ hubs\))?\n", line)
        assert match, (line, self.process.stderr.read())
        self.address = f"127.0.0.1:{match[1]}"
        self.channel = grpc.insecure_channel(self.address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def exit(self):
        """Its exit status and what it said last."""
        _, err = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, err

    def client(self, *flags):
        run = subprocess.run(
            [CLIENT, "--server=" + self.address, *flags],
            capture_output=True,
            text=True,
            timeout=2 * LIMIT,
        )
        return run.returncode, run.stdout, run.stderr

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+) kB", f.read())[1])

    def health(self, service):
        check = self.channel.unary_unary("/grpc.health.v1.Health/Check")
        name = service.encode()
        return check(b"\x0a" + bytes([len(name)]) + name, timeout=LIMIT)

    def reflect(self, request):
        method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        call = self.channel.stream_stream(method)(iter([request]), timeout=LIMIT)
        (answer,) = list(call)
        return fields(answer)


def fields(message):
    """A message's fields of lengths, by number; others are skipped."""
    found = {}
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            varint()
        else:
            assert key & 7 == 2, key
            size = varint()
            found.setdefault(key >> 3, []).append(message[at : at + size])
            at += size
    return found


class Demo:
    """Stubs made of what the server says of itself."""

    def __init__(self, server):
        name = DEMO.encode()
        (answer,) = server.reflect(b"\x22" + bytes([len(name)]) + name)[4]
        pool = descriptor_pool.DescriptorPool()
        for text in fields(answer)[1]:
            pool.Add(descriptor_pb2.FileDescriptorProto.FromString(text))
        factory = message_factory.MessageFactory(pool)
        service = pool.FindServiceByName(DEMO)
        self.Question = factory.GetPrototype(
            pool.FindMessageTypeByName("grove.examples.Question"))
        proto = descriptor_pb2.ServiceDescriptorProto()
        service.CopyToProto(proto)
        for method in proto.method:
            kind = "_".join(
                "stream" if streams else "unary"
                for streams in [method.client_streaming, method.server_streaming])
            answer = factory.GetPrototype(
                service.methods_by_name[method.name].output_type)
            call = getattr(server.channel, kind)(
                f"/{DEMO}/{method.name}",
                request_serializer=self.Question.SerializeToString,
                response_deserializer=answer.FromString,
            )
            setattr(self, method.name, call)


class Backend:
    """Answers each line, or none; says when its peer has gone."""

    def __init__(self, answers=True):
        outer = self
        self.asked = threading.Event()
        self.left = threading.Event()

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    outer.asked.set()
                    if answers:
                        self.wfile.write(line.upper())
                        self.wfile.flush()
                outer.left.set()

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = "127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def end_of(call):
    """The status of a call that fails."""
    try:
        result = call()
    except grpc.RpcError as e:
        return e.code(), e.details()
    raise AssertionError(f"no error, but {result}")


class GrpcTest(unittest.TestCase):
    def test_methods_of_each_kind(self):
        with Backend() as backend, Server("--backend=" + backend.address) as server:
            demo = Demo(server)
            q = demo.Question
            self.assertEqual(demo.Ask(q(text="hello"), timeout=LIMIT).text, "HELLO")
            self.assertEqual(demo.Wait(q(text="x", wait_ms=1), timeout=LIMIT).text, "x")
            got = [a.count for a in demo.Repeat(q(count=500), timeout=LIMIT)]
            self.assertEqual(got, list(range(500)))
            many = (q(text=str(i)) for i in range(500))
            answer = demo.Count(many, timeout=LIMIT)
            self.assertEqual((answer.count, answer.text), (500, "499"))
            many = (q(text=str(i)) for i in range(500))
            got = [a.text for a in demo.Talk(many, timeout=LIMIT)]
            self.assertEqual(got, [str(i) for i in range(500)])
            # And by the client that is made of greenlets.
            status, out, err = server.client()
            self.assertEqual(
                (status, out.splitlines()),
                (0, ["Ask: HELLO", "Repeat: hello0 hello1 hello2 ", "Count: 3",
                     "Talk: talk0 talk1 talk2 "]),
                err)

    def test_errors(self):
        with Backend() as gone:
            address = gone.address
        with Server("--backend=" + address) as server:
            demo = Demo(server)
            code, details = end_of(lambda: demo.Ask(demo.Question(text="x"), timeout=LIMIT))
            self.assertEqual(code, grpc.StatusCode.UNAVAILABLE)
            self.assertEqual(details, "the backend has failed")
            code, _ = end_of(lambda: demo.Ask(demo.Question(text="a\nb"), timeout=LIMIT))
            self.assertEqual(code, grpc.StatusCode.INVALID_ARGUMENT)
            code, details = end_of(
                lambda: demo.Wait(demo.Question(wait_ms=-1), timeout=LIMIT))
            self.assertEqual(code, grpc.StatusCode.INVALID_ARGUMENT)
            self.assertEqual(details, "a wait is not negative")
            no_such = server.channel.unary_unary(f"/{DEMO}/NoSuch")
            code, _ = end_of(lambda: no_such(b"", timeout=LIMIT))
            self.assertEqual(code, grpc.StatusCode.UNIMPLEMENTED)
            self.assertEqual(server.client()[0], 1)

    def test_a_cancel_closes_the_connection_to_the_backend(self):
        with Backend(answers=False) as backend, \
                Server("--backend=" + backend.address) as server:
            demo = Demo(server)
            call = demo.Ask.future(demo.Question(text="x"), timeout=LIMIT)
            self.assertTrue(backend.asked.wait(LIMIT))
            self.assertFalse(backend.left.is_set())
            self.assertTrue(call.cancel())
            self.assertTrue(backend.left.wait(LIMIT))
            # A stream of answers as well.
            stream = demo.Repeat(demo.Question(count=10**9, wait_ms=1), timeout=LIMIT)
            next(stream)
            stream.cancel()
            server.terminate()
            self.assertEqual(server.exit()[0], 0)

    def test_a_deadline_closes_the_connection_to_the_backend(self):
        with Backend(answers=False) as backend, \
                Server("--backend=" + backend.address) as server:
            demo = Demo(server)
            timeout = 0.1
            while not backend.asked.is_set():
                code, _ = end_of(
                    lambda: demo.Ask(demo.Question(text="x"), timeout=timeout))
                self.assertEqual(code, grpc.StatusCode.DEADLINE_EXCEEDED)
                timeout *= 2
            self.assertTrue(backend.left.wait(LIMIT))

    def test_health(self):
        serving, not_serving = b"\x08\x01", b"\x08\x02"
        with Server("--grace=30s") as server:
            demo = Demo(server)
            self.assertEqual(server.health(""), serving)
            self.assertEqual(server.health(DEMO), serving)
            code, _ = end_of(lambda: server.health("no.such"))
            self.assertEqual(code, grpc.StatusCode.NOT_FOUND)
            # Who watches is told when the end begins, and what is in flight goes on.
            watch = server.channel.unary_stream("/grpc.health.v1.Health/Watch")(
                b"", timeout=LIMIT)
            self.assertEqual(next(watch), serving)
            gate = threading.Event()

            def questions():
                yield demo.Question(text="first")
                gate.wait(LIMIT)
                yield demo.Question(text="last")

            talk = demo.Talk(questions(), timeout=LIMIT)
            self.assertEqual(next(talk).text, "first")
            server.terminate()
            self.assertEqual(next(watch), not_serving)
            watch.cancel()
            gate.set()
            self.assertEqual([a.text for a in talk], ["last"])
            self.assertEqual(server.exit(), (0, ""))

    def test_reflection(self):
        with Server() as server:
            (answer,) = server.reflect(b"\x3a\x00")[6]
            names = {fields(s)[1][0].decode() for s in fields(answer)[1]}
            # Upstream's: the health service has no descriptor, and is not listed.
            self.assertLessEqual(
                {DEMO, "grpc.reflection.v1alpha.ServerReflection"}, names)
            self.assertNotIn(4, server.reflect(b"\x22\x07no.such"))

    def test_a_stop_cuts_what_takes_too_long(self):
        with Server("--grace=1s") as server:
            demo = Demo(server)
            stream = demo.Repeat(demo.Question(count=2, wait_ms=10**9))
            next(stream)
            server.terminate()
            code, _ = end_of(lambda: next(stream))
            self.assertIn(code, [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
            self.assertEqual(server.exit()[0], 0)

    def test_bad_flags(self):
        run = subprocess.run([SERVER, "--hubs=0"], capture_output=True, timeout=LIMIT)
        self.assertEqual(run.returncode, 2)

    def test_ten_thousand_calls_that_sleep(self):
        """They sleep for 10 s here, so that all of them are there at once."""
        calls = 10_000

        def more_than_idle(server):
            status, _, err = server.client("--calls=100")
            self.assertEqual(status, 0, err)
            idle = most = server.rss_kib()
            run = subprocess.Popen(
                [CLIENT, "--server=" + server.address, f"--calls={calls}",
                 f"--in_flight={calls}", "--wait_ms=10000"],
                stdout=subprocess.PIPE, text=True)
            while run.poll() is None:
                most = max(most, server.rss_kib())
                time.sleep(0.01)
            out = run.stdout.read()
            run.stdout.close()
            self.assertEqual(run.returncode, 0, out)
            self.assertIn(f"{calls} calls, 0 failed", out)
            return (most - idle) * 1024

        with Server() as server, Server(command=[PLAIN_SERVER]) as plain:
            ours = more_than_idle(server)
            theirs = more_than_idle(plain)
        print(f"{ours / 1e6:.0f} MB more than idle, without greenlets {theirs / 1e6:.0f}",
              file=sys.stderr)
        # gRPC's calls take more than the greenlets in them, which are a page each and a bit.
        self.assertGreater(theirs, 100e6)
        self.assertLess(ours - theirs, 65e6)

    def test_soak(self):
        """Bounded by count. What it needs does not grow, and all is answered."""
        with Backend() as backend, Server("--backend=" + backend.address) as server:
            sizes = []
            for _ in range(6):
                status, out, err = server.client("--calls=5000", "--in_flight=50")
                self.assertEqual(status, 0, out + err)
                self.assertEqual(server.client()[0], 0)
                sizes.append(server.rss_kib())
            self.assertLess(sizes[-1] - sizes[2], 4096, sizes)
            server.terminate()
            self.assertEqual(server.exit(), (0, ""))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
