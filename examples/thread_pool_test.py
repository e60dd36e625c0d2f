"""thread_pool counts right, and lets greenlets run meanwhile.

Usage: thread_pool_test.py THREAD_POOL
"""

import re

import testing
from testing import PROGRAMS, run


class ThreadPoolTest(testing.ExampleTest):
    def count(self, *flags):
        done = run(PROGRAMS[0], *flags)
        match = re.fullmatch(r"(\d+) primes below (\d+); the ticker ran (.*)\n", done.stdout)
        assert match, done.stdout
        return int(match[1]), match[3], done.stderr

    def test_it_counts_right(self):
        # See OEIS A006880, and by hand.
        for below, primes in [(0, 0), (2, 0), (3, 1), (10, 4), (100, 25), (1_000_000, 78498)]:
            for threads in [0, 1, 3]:
                for pieces in [1, 7]:
                    with self.subTest(below=below, threads=threads, pieces=pieces):
                        got, _, err = self.count(
                            f"--below={below}", f"--threads={threads}", f"--pieces={pieces}")
                        self.assertEqual(got, primes)
                        self.assertEqual(
                            err, "".join(f"{i + 1} of {pieces} pieces\n" for i in range(pieces)))

    def test_greenlets_run_meanwhile(self):
        self.assertRegex(self.count("--threads=2")[1], r"^\d+ times$")
        self.assertEqual(self.count("--threads=0")[1], "never")

    def test_flags(self):
        self.explains("--below", "--threads", "--pieces")
        self.refuses("--below=-1", "--threads=-1", "--pieces=0", "--below=x", "word")


testing.main()
