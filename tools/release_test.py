"""The source archive has what a host needs, and what a release says agrees with itself.

Usage: release_test.py ARCHIVE DIST_PY
"""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import unittest

ARCHIVE, DIST = map(os.path.abspath, sys.argv[1:3])
ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def read(name):
    with open(name, encoding="utf-8") as file:
        return file.read()


VERSION = read("VERSION").strip()


class Version(unittest.TestCase):
    def test_all_say_the_same(self):
        major, minor, patch = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", VERSION).groups()
        header = read("version.h")
        for name, value in (("MAJOR", major), ("MINOR", minor), ("PATCH", patch)):
            self.assertIn(f"#define GROVE_VERSION_{name} {value}\n", header)
        self.assertIn(f'#define GROVE_VERSION_STRING "{VERSION}"\n', header)

    def test_the_changelog_begins_with_it(self):
        self.assertEqual(re.findall(r"^## ([\d.]+)", read("CHANGELOG.md"), re.M)[0], VERSION)


class ThirdParty(unittest.TestCase):
    def test_every_repository_is_listed(self):
        calls = re.findall(r"maybe\((.*?)name = \"(\w+)\"", read("third_party/repositories.bzl"), re.S)
        names = [name for _, name in calls]
        self.assertGreater(len(names), 10)
        for page in ("THIRD_PARTY.md", "docs/vendoring.md"):
            text = read(page)
            self.assertEqual([n for n in names if f"`@{n}`" not in text], [], page)


class Targets(unittest.TestCase):
    def test_every_one_for_others_is_in_the_guide(self):
        with open("BUILD.bazel", encoding="utf-8") as file:
            rules = file.read().split("\n\n")
        names = [re.search(r'name = "(\w+)"', rule)[1] for rule in rules
                 if "visibility:public" in rule and "name = " in rule]
        self.assertGreater(len(names), 15)
        text = read("docs/vendoring.md")
        self.assertEqual([n for n in names if f"`:{n}`" not in text], [])


class Archive(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        cls.addClassCleanup(cls.folder.cleanup)
        with tarfile.open(ARCHIVE) as archive:
            cls.members = archive.getmembers()
            archive.extractall(cls.folder.name)
        cls.top = os.path.join(cls.folder.name, f"grove-{VERSION}")

    def test_has_what_a_host_needs(self):
        for name in (
            "WORKSPACE", "BUILD.bazel", "LICENSE", "THIRD_PARTY.md", "VERSION", "version.h", ".bazelrc",
            "third_party/BUILD.bazel", "third_party/repositories.bzl", "third_party/distribution.bzl",
            "tools/bazel", "tools/packages.txt", "tools/build_defs.bzl",
            "hub/BUILD.bazel", "hub/hub.h", "hub/hub.cc", "green/greenlet.h", "sync/mutex.h",
            "net/server.h", "net/http/server.h", "patch/patch.h", "docs/README.md", "docs/sync.md",
        ):
            self.assertTrue(os.path.isfile(os.path.join(self.top, name)), name)

    def test_has_all_that_is_under_version_control(self):
        if not os.path.exists(os.path.join(ROOT, ".git")):
            self.skipTest("not a clone: this was unpacked from such an archive")
        listed = subprocess.run(["git", "-C", ROOT, "ls-files", "--cached"], capture_output=True,
                                text=True, check=True).stdout.split("\n")
        there = {m.name.partition("/")[2] for m in self.members}
        missing = [f for f in listed
                   if f and f not in there and os.path.exists(os.path.join(ROOT, f))]
        self.assertEqual(missing, [], "is there a `sources` for that package in the srcs of //:dist?")

    def test_wrappers_can_be_run(self):
        for name in ("tools/bazel", ".ci/run"):
            self.assertTrue(os.access(os.path.join(self.top, name), os.X_OK), name)

    def test_says_nothing_of_who_packed_it(self):
        for m in self.members:
            self.assertTrue(m.isfile(), m.name)
            self.assertTrue(m.name.startswith(f"grove-{VERSION}/"), m.name)
            self.assertEqual((m.uid, m.gid, m.uname, m.gname, m.mtime), (0, 0, "", "", 946684800))

    def test_packed_again_is_the_same(self):
        files = [m.name.partition("/")[2] for m in self.members]
        again = os.path.join(self.folder.name, "again.tar.gz")
        subprocess.run([sys.executable, DIST, "VERSION", again, *reversed(files)], cwd=self.top, check=True)
        with open(again, "rb") as a, open(ARCHIVE, "rb") as b:
            self.assertTrue(a.read() == b.read())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
