"""Three gRPC servers on hosts of their own behind HAProxy: a rolling restart under load
loses no call. By Python's grpcio.

Usage: grpc_deployment_test.py GRPC_SERVER HAPROXY_CFG TESTING_PY
"""

import functools
import os
import sys

SERVER, CONFIG, HELPERS = sys.argv[1:4]
sys.path.insert(0, os.path.dirname(HELPERS))
import rolling_restart  # noqa: E402

rolling_restart.on_hosts_of_its_own()

import grpc  # noqa: E402

DEMO = "/grove.examples.Demo/"


def channel():
    # A connection of its own, and no proxy that the environment may name.
    return grpc.insecure_channel("10.77.0.1:8080", options=[
        ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)])


def short(i, load):
    """By turns on a connection that it keeps, and on new ones."""
    n = 0
    while not load.stop.is_set():
        with channel() as c:
            wait = c.unary_unary(DEMO + "Wait")
            for _ in range(50):
                # Question and Answer both have the text in field 1.
                text = b"client %d call %d" % (i, n)
                message = b"\x0a" + bytes([len(text)]) + text
                try:
                    answer = wait(message, timeout=60)
                    good, why = answer == message, repr(answer)
                except grpc.RpcError as e:
                    good, why = False, f"{e.code()} {e.details()}"
                n += 1
                load.count(good, f"client {i} call {n}: {why}")
                if load.stop.wait(0.005):  # a load that leaves room
                    break


def long(load):
    """Streams that take two seconds, so that each restart has some in its midst."""
    with channel() as c:
        repeat = c.unary_stream(DEMO + "Repeat")
        while not load.stop.is_set():
            try:
                # count = 20, wait_ms = 100; the answers have a count.
                answers = list(repeat(b"\x10\x14\x18\x64", timeout=60))
                good = answers == [b""] + [bytes([0x10, i]) for i in range(1, 20)]
                why = repr(answers[-1:])
            except grpc.RpcError as e:
                good, why = False, f"{e.code()} {e.details()}"
            load.count(good, f"stream: {why}")


class GrpcDeploymentTest(rolling_restart.RollingRestart):
    config = CONFIG

    def command(self, address):
        return [SERVER, f"--host={address}", "--port=8080", "--hubs=1",
                f"--drain_delay={rolling_restart.DRAIN_DELAY}", "--grace=30s"]


rolling_restart.main([functools.partial(short, i) for i in range(8)] + [long] * 4)
