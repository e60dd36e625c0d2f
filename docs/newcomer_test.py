"""Goes a newcomer's way: first_server.md in an empty directory, to the letter.

Usage: newcomer_test.py [LINE-FOR-BAZELRC...]

The directory has the files of the page and grove's source below third_party/grove, and
nothing else; then the page's commands are run as they are printed. Since it runs Bazel it
is no test of Bazel's: .ci/run does it, and passes where to find what was compiled before.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

DOCS = os.path.dirname(os.path.realpath(__file__))
WRAPPER = "third_party/grove/tools/bazel"
BAZELRC = sys.argv[1:]


def page():
    with open(os.path.join(DOCS, "first_server.md"), encoding="utf-8") as file:
        return file.read()


def files(text):
    """The files of the page, by name."""
    found = {}
    for fence, block in re.findall(r"^```(.*)\n((?:.*\n)*?)```$", text, re.M):
        # Those that are no C++ say their names in their first line.
        name = re.search(r"source=(\S+)", fence) or re.match(r"# (\S+)\n", block)
        found[name[1]] = block
    found[".bazelversion"] = re.search(r"`\.bazelversion` with the one line `([^`]+)`", text)[1] + "\n"
    return found


class FirstServer(unittest.TestCase):
    def setUp(self):
        text = page()
        self.folder = tempfile.mkdtemp(prefix="newcomer.")
        self.addCleanup(shutil.rmtree, self.folder)
        os.mkdir(os.path.join(self.folder, "third_party"))
        os.symlink(os.path.dirname(DOCS), os.path.join(self.folder, "third_party/grove"))
        for name, content in files(text).items():
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
                file.write(content)
        with open(os.path.join(self.folder, ".bazelrc"), "a", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in BAZELRC)
        self.commands = re.findall(r"^    (\S.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
        # What was built, and Bazel's server, go with the directory.
        self.addCleanup(self.bazel, ["clean", "--expunge"])

    def bazel(self, words):
        subprocess.run([WRAPPER, *words], cwd=self.folder, check=True)

    def talk(self, command, port):
        """What the server says to one who runs that command, and ends."""
        return subprocess.run(shlex.split(command.replace("PORT", port)), input="hello\nworld\n",
                              stdout=subprocess.PIPE, text=True, check=True).stdout

    def test_as_printed(self):
        run, talk, test = self.commands
        # A terminal's Ctrl-C goes to all that the command has started.
        server = subprocess.Popen(shlex.split(run), cwd=self.folder, stderr=subprocess.PIPE, text=True,
                                  start_new_session=True)
        self.addCleanup(server.stderr.close)
        self.addCleanup(end_group, server)
        said = ""
        while not (port := re.search(r"listening on 127\.0\.0\.1:(\d+)", said)):
            line = server.stderr.readline()
            self.assertNotEqual(line, "", f"it has ended: {said}")
            said += line
        self.assertEqual(self.talk(talk, port[1]), "HELLO\nWORLD\n")
        self.assertEqual(self.talk(talk, port[1]), "HELLO\nWORLD\n")
        os.killpg(server.pid, signal.SIGINT)
        rest = server.stderr.read()
        self.assertEqual(server.wait(), 0, rest)

        self.bazel(shlex.split(test)[1:])


def end_group(server):
    """Whatever has become of the test."""
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


if __name__ == "__main__":
    done = unittest.main(argv=sys.argv[:1], exit=False).result
    print("PASSED" if done.wasSuccessful() else "FAILED", "docs/newcomer_test.py")
    sys.exit(not done.wasSuccessful())
