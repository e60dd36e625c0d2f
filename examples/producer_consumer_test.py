"""producer_consumer with files, pipes, signals, and a stdout that nobody reads.

Usage: producer_consumer_test.py PRODUCER_CONSUMER
"""

import os
import re
import signal
import subprocess
import unittest

import testing
from testing import PATIENCE, PROGRAMS, run

PROGRAM = PROGRAMS[0]


def counts(err):
    match = re.match(r"(\d+) lines read, (\d+) worked on, (\d+) written; at most (\d+) waited\n",
                     err)
    assert match, err
    return [int(n) for n in match.groups()]


class ProducerConsumerTest(testing.ExampleTest):
    def start(self, *flags):
        p = subprocess.Popen([PROGRAM, *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        self.addCleanup(p.communicate)
        self.addCleanup(p.kill)
        return p

    def test_each_line_once(self):
        lines = [f"line {i}" for i in range(5000)]
        done = run(PROGRAM, "--consumers=7", "--capacity=3", input="\n".join(lines) + "\n")
        self.assertEqual(sorted(done.stdout.splitlines()), sorted(l.upper() for l in lines))
        read, worked, written, most = counts(done.stderr)
        self.assertEqual((read, worked, written), (5000, 5000, 5000))
        self.assertLessEqual(most, 3)
        # One consumer keeps the order.
        done = run(PROGRAM, "--consumers=1", input="\n".join(lines))
        self.assertEqual(done.stdout.splitlines(), [l.upper() for l in lines])

    def test_a_producer_for_each_file(self):
        folder = testing.temporary_folder()
        paths = []
        for i in range(5):
            paths.append(f"{folder}/{i}")
            with open(paths[-1], "w") as f:
                f.writelines(f"{i} {j}\n" for j in range(300))
        done = run(PROGRAM, *paths)
        self.assertEqual(sorted(done.stdout.splitlines()),
                         sorted(f"{i} {j}" for i in range(5) for j in range(300)))
        done = run(PROGRAM, paths[0], folder + "/none", status=1)
        self.assertIn("No such file or directory", done.stderr)

    def test_a_signal_loses_no_line_that_was_read(self):
        for signum in [signal.SIGINT, signal.SIGTERM]:
            p = self.start("--consumers=2", "--capacity=4")
            p.stdin.write(b"".join(b"%d\n" % i for i in range(100)))
            p.stdin.flush()
            got = [p.stdout.readline() for _ in range(100)]
            # It waits for more, and would for ever.
            p.send_signal(signum)
            rest, err = p.stdout.read(), p.stderr.read()
            self.assertEqual(p.wait(PATIENCE), 0)
            self.assertEqual(sorted(got), sorted(b"%d\n" % i for i in range(100)))
            self.assertEqual(rest, b"")
            self.assertEqual(counts(err.decode())[:3], [100, 100, 100])

    def test_a_signal_while_all_are_busy(self):
        p = self.start("--consumers=2", "--capacity=4", "--work=20ms")
        p.stdin.write(b"".join(b"%d\n" % i for i in range(5000)))
        p.stdin.flush()
        got = p.stdout.readline()
        p.send_signal(signal.SIGTERM)
        rest, err = p.stdout.read(), p.stderr.read()
        self.assertEqual(p.wait(PATIENCE), 0)
        read, worked, written, most = counts(err.decode())
        self.assertEqual((read, read), (worked, written))
        self.assertLess(read, 5000)
        self.assertLessEqual(most, 4)
        self.assertEqual(len((got + rest).splitlines()), written)

    def test_a_slow_reader_slows_down_everything(self):
        p = self.start("--capacity=8", "--consumers=3")
        # Nobody reads stdout: so much fits into the pipes and the program, and no more.
        os.set_blocking(p.stdin.fileno(), False)
        line = b"x" * 999 + b"\n"
        sent, idle = 0, 0
        while idle < 20:
            try:
                sent += os.write(p.stdin.fileno(), line)
                idle = 0
            except BlockingIOError:
                idle += 1
                testing.time.sleep(0.05)
            self.assertLess(sent, 1_000_000, "it goes on reading")
        os.set_blocking(p.stdin.fileno(), True)
        out, err = p.communicate(timeout=PATIENCE)
        self.assertEqual(p.returncode, 0)
        self.assertEqual(out.count(b"X"), sent - sent // 1000)

    def test_a_stdout_that_is_closed_ends_it(self):
        p = self.start()
        p.stdout.close()
        p.stdin.write(b"x\n")
        p.stdin.flush()
        err = p.stderr.read()
        self.assertEqual(p.wait(PATIENCE), 1)
        self.assertIn(b"Broken pipe", err)
        p.stdout = None

    def test_flags(self):
        self.explains("--consumers", "--capacity", "--work")
        self.refuses("--consumers=0", "--capacity=0", "--work=x")


testing.main()
