"""processes, with commands that end well, badly, late, and never.

Usage: processes_test.py PROCESSES
"""

import os
import signal

import testing
from testing import PROGRAMS, Process, run

PROGRAM = PROGRAMS[0]


def gone(pid):
    try:
        os.kill(pid, 0)
        return False
    except ProcessLookupError:
        return True


class ProcessesTest(testing.ExampleTest):
    def test_output_and_ends(self):
        done = run(PROGRAM, "echo a; echo b >&2; exit 3", "printf last", "true", status=1)
        self.assertEqual([l for l in done.stdout.splitlines() if l[0] == "1"],
                         ["1: a", "1: b", "1: exited with code 3"])
        self.assertEqual([l for l in done.stdout.splitlines() if l[0] == "2"],
                         ["2: last", "2: exited with code 0"])
        self.assertIn("3: exited with code 0\n", done.stdout)
        self.assertEqual(run(PROGRAM, "true", "cat", "test -t 0 || true").returncode, 0)

    def test_they_run_side_by_side(self):
        """Each waits for the other, by two FIFOs."""
        folder = testing.temporary_folder()
        a, b = folder + "/a", folder + "/b"
        os.mkfifo(a), os.mkfifo(b)
        done = run(PROGRAM, "--jobs=2", f"echo x > {a}; cat {b}", f"cat {a}; echo y > {b}")
        self.assertIn("1: y\n", done.stdout)
        self.assertIn("2: x\n", done.stdout)

    def test_so_many_at_a_time(self):
        folder = testing.temporary_folder()
        command = f"mkdir {folder}/one && rmdir {folder}/one"
        run(PROGRAM, "--jobs=1", *[command] * 50)

    def test_a_timeout_ends_a_command_with_what_it_has_started(self):
        done = run(PROGRAM, "--timeout=5s", "sleep 1000 & echo $!; wait", "echo quick",
                   status=1)
        lines = done.stdout.splitlines()
        self.assertIn("1: killed: out of time", lines)
        self.assertIn("2: exited with code 0", lines)
        pid = int([l for l in lines if l.startswith("1: ")][0].split()[1])
        testing.wait_until(lambda: gone(pid), "the sleep is gone")

    def test_signals_end_all(self):
        for signum in [signal.SIGINT, signal.SIGTERM]:
            with Process(PROGRAM, "--jobs=2", *["echo $$; exec sleep 1000"] * 5) as p:
                pids = [int(p.line().split()[1]) for _ in range(2)]
                code, rest, err = p.stop(signum)
                self.assertEqual((code, rest, err), (128 + signum, "", ""))
                for pid in pids:
                    self.assertTrue(gone(pid))

    def test_a_great_deal_of_output(self):
        done = run(PROGRAM, *[f"seq {i} 20000" for i in range(1, 4)])
        for i in range(1, 4):
            self.assertEqual([int(l.split()[1]) for l in done.stdout.splitlines()
                              if l.startswith(f"{i}: ") and "exit" not in l],
                             list(range(i, 20001)))

    def test_flags(self):
        self.explains("--jobs", "--timeout")
        self.refuses("--jobs=0", "--timeout=x", but=("true",))
        self.refuses("--jobs=1")


testing.main()
