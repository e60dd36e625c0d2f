"""grove_gdb.py in gdb itself, on a program that runs and on the core file of it.

Usage: gdb_test.py GROVE_GDB SAMPLE
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

SCRIPT, SAMPLE = (os.path.abspath(p) for p in sys.argv[1:3])


def gdb(*commands, core=None):
    words = ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off",
             "-ex", "set confirm off", "-ex", "set width 0", "-ex", "source " + SCRIPT]
    for command in commands:
        words += ["-ex", command]
    words += [SAMPLE] + ([core] if core else [])
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=200)
    return done.stdout


class Greenlets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.core = os.path.join(tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR")), "core")
        # Stops in abort().
        cls.live_list = gdb("run", "info greenlets", "generate-core-file " + cls.core)
        assert os.path.exists(cls.core), cls.live_list

    def on_core(self, *commands):
        return gdb(*commands, core=self.core)

    def check_list(self, text):
        self.assertRegex(text, r"hub '[^']+', thread \d+, 6 greenlets beside the main one")
        self.assertEqual(len(re.findall(r"hub '[^']+', thread", text)), 2, text)
        self.assertRegex(text, r"main +'main': runs")
        self.assertEqual(
            len(re.findall(r"'greenlet-\d+', spawned at \S*sample\.cc:\d+ by #0: "
                           r"waits for Event::WaitOperation \(0x[0-9a-f]+\), since ", text)),
            3, text)
        self.assertRegex(text, r"#\d+ +'locksmith', .*: waits for Mutex::LockOperation \(")
        self.assertRegex(text, r"#\d+ +'sleeper', .*: waits for SleepWaiter \(")
        self.assertRegex(text, r"#\d+ +'late', .*: has not started")

    def test_a_live_process(self):
        self.check_list(self.live_list)

    def test_a_core_file(self):
        self.check_list(self.on_core("info greenlets"))

    def test_a_filter_leaves_the_others_out(self):
        text = self.on_core("info greenlets Mutex")
        self.assertIn("'locksmith'", text)
        self.assertNotIn("'sleeper'", text)

    def test_one_greenlets_stack(self):
        for word in ("locksmith", self.id_of("locksmith")):
            text = self.on_core("greenlet " + word, "bt")
            self.assertRegex(text, r"(?m)^#\d+ .*WantTheKey", text)
            self.assertNotIn("RestALittle", text)
            self.assertNotIn("StopHere", text.replace("#0 ", "", 1).split("#1 ", 1)[1])
            self.assertNotIn("corrupt", text)

    def id_of(self, name):
        return re.search(r"#(\d+) +'%s'" % name, self.live_list)[1]

    def test_frames_of_the_greenlet_can_be_looked_at(self):
        text = self.on_core("greenlet sleeper", "bt")
        number = re.search(r"(?m)^#(\d+) .*RestALittle", text)[1]
        self.assertIn("RestALittle",
                      self.on_core("greenlet sleeper", "frame " + number, "info registers rip pc"))

    def test_the_one_that_runs_is_its_thread(self):
        self.assertRegex(self.on_core("greenlet main " + self.hub_of_sample(), "bt"),
                         r"(?m)^#\d+ .*StopHere")

    def hub_of_sample(self):
        return re.search(r"hub '([^']+)', thread \d+, 6 greenlets", self.live_list)[1]

    def test_off_gives_the_thread_back(self):
        self.assertRegex(self.on_core("greenlet sleeper", "greenlet off", "bt"),
                         r"(?m)^#\d+ .*StopHere")

    def test_equal_stacks_are_told_once(self):
        text = self.on_core("greenlet apply all bt")
        self.assertEqual(len(re.findall(r"(?m)^#\d+ .*WaitForTheDoor", text)), 1, text)
        self.assertRegex(text, r"3 greenlets:\n(  #\d+ .*\n){3}#1 ")
        for function in ("WantTheKey", "RestALittle", "StopHere"):
            self.assertRegex(text, r"(?m)^#\d+ .*%s" % function)

    def test_one_command_in_one_greenlet(self):
        text = self.on_core("greenlet apply locksmith bt", "bt")
        mine, threads = text.split("StopHere", 1)[0], text
        self.assertIn("WantTheKey", mine)
        self.assertIn("StopHere", threads)  # the plain bt: nothing stays chosen

    def test_what_is_not_there_is_said(self):
        self.assertIn("there is no greenlet nobody", self.on_core("greenlet nobody"))
        self.assertIn("there are 2 greenlets main; say the hub too: hub-0, others-0",
                      self.on_core("greenlet main"))

    def test_another_program_is_said_to_be_none(self):
        text = subprocess.run(
            ["gdb", "-nx", "-batch", "-ex", "source " + SCRIPT, "-ex", "info greenlets",
             "/bin/true"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=100).stdout
        self.assertIn("not a program with greenlets", text)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
