"""Whether the server decays under a mixed load: calls of all kinds, cancelled and late ones
among them (soak_client.cc).

    ./tools/bazel run --config=opt //examples/grpc:soak -- --seconds=300

Looks at the server and the client after each round: calls, memory, open descriptors. Fails
if a call does not end as it has to, if either needs more and more of anything, or if the
rate falls. With --calls a round is so many calls, and nothing depends on time: so
soak_test runs it.

Usage: soak.py SERVER SOAK_CLIENT ECHO_SERVER [--seconds=N [--every=10] | --calls=N]
"""

import argparse
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import testing  # noqa: E402
from testing import Process  # noqa: E402

ROUNDS = 6  # at least
GROWTH_KIB = 4096  # of what is in use, from the first third to the end
RATE = 0.8  # of the first third, at the end


def arguments():
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("programs", nargs=3)
    parser.add_argument("--seconds", type=int, default=60, help="how long it takes")
    parser.add_argument("--every", type=int, default=10, help="how long a round is")
    parser.add_argument("--calls", type=int, help="how many calls a round is, in place of that")
    parser.add_argument("--in_flight", type=int, default=20, help="calls at a time")
    return parser.parse_args()


def rss_kib(process):
    with open(f"/proc/{process.process.pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read())[1])


def descriptors(process):
    return len(os.listdir(f"/proc/{process.process.pid}/fd"))


def soak(server, address, client_program, words):
    """A list per round: calls/s, and KiB and descriptors of the server and of the client."""
    samples = []
    with Process(client_program, "--server=" + address, *words) as client:
        began, before = time.monotonic(), 0
        while match := re.fullmatch(r"(\d+) calls, (\d+) failed\n", client.line()):
            now, calls, failed = time.monotonic(), int(match[1]), int(match[2])
            sample = [(calls - before) / (now - began), rss_kib(server), descriptors(server),
                      rss_kib(client), descriptors(client)]
            samples.append(sample)
            print("%6.0f calls/s, %d failed; server %d KiB, %d descriptors; "
                  "client %d KiB, %d descriptors" % (sample[0], failed, *sample[1:]),
                  flush=True)
            began, before = now, calls
        code, _, err = client.end()
        assert code == 0, f"calls went wrong: {err}"
    return samples


def check(samples, timed):
    third = len(samples) // 3
    rate, *sizes = zip(*samples)
    for who, kib in [("server", sizes[0]), ("client", sizes[2])]:
        growth = max(kib[-third:]) - max(kib[:third])
        assert growth < GROWTH_KIB, f"the {who} has grown by {growth} KiB"
    begin, end = sum(rate[:third]), sum(rate[-third:])
    assert not timed or end > RATE * begin, f"the rate fell to {end / begin:.0%}"


def main():
    args = arguments()
    server_program, client_program, echo_program = args.programs
    if args.calls:
        length, rounds = f"--round_calls={args.calls}", ROUNDS
    else:
        length, rounds = f"--round_time={args.every}s", max(ROUNDS, args.seconds // args.every)
    words = [f"--rounds={rounds}", length, f"--in_flight={args.in_flight}"]
    with testing.Server("--host=127.0.0.1", "--port=0", program=echo_program) as backend, \
            testing.Server("--port=0", "--backend=" + backend.address,
                           program=server_program) as server:
        # What is made by the first calls, and stays.
        soak(server, server.address, client_program, ["--rounds=1", "--round_calls=100"])
        idle = descriptors(server)
        samples = soak(server, server.address, client_program, words)
        testing.wait_until(lambda: descriptors(server) <= idle,
                           f"the server has {idle} descriptors, as before")
        check(samples, timed=not args.calls)
        code, _, err = server.stop()
        assert (code, err) == (0, ""), (code, err)
    print("nothing decays")


main()
