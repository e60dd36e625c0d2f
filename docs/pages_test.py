"""What holds for all pages: links lead somewhere, and code is compiled.

Usage: pages_test.py CHECKED,PAGES

Reads the source tree that this file lies in, since links lead to all of it.
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
EXTRACT = os.path.join(ROOT, "docs/code/extract.py")
CHECKED = set(sys.argv[1].split(","))


def sources(endings):
    """All files of the repository with one of these endings."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [d for d in folders if not d.startswith((".", "bazel-"))]
        found += [os.path.relpath(os.path.join(folder, f), ROOT) for f in files if f.endswith(endings)]
    return sorted(found)


def pages():
    """All Markdown files of the repository, by their path below its root."""
    return sources((".md",))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def without_code(text):
    """The text with all code blanked, line by line, so that lines keep their numbers."""
    text = re.sub(r"^ *```.*?^ *```", lambda m: "\n" * m[0].count("\n"), text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "``", text)


def anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)
    found = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    for heading in re.findall(r"^#+ +(.*?) *#*$", text, re.M):
        heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")
        count = 1
        unique = anchor
        while unique in found:
            unique = f"{anchor}-{count}"
            count += 1
        found.add(unique)
    return found


def broken_links(path, text):
    """Links of a page that lead to no file or no heading, as "path:line: link"."""
    broken = []
    for number, line in enumerate(without_code(text).splitlines(), 1):
        for link in re.findall(r"\]\(([^)\s]+)[^)]*\)", line) + re.findall(r' src="([^"]+)"', line):
            if re.match(r"[a-z]+:", link):
                continue
            file, _, anchor = link.partition("#")
            target = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
            known = not file or os.path.exists(os.path.join(ROOT, target)) and target[:2] != ".."
            if known and anchor:
                known = target.endswith(".md") and anchor in anchors(
                    text if target == path else read(target))
            if not known:
                broken.append(f"{path}:{number}: {link}")
    return broken


class Links(unittest.TestCase):
    def test_links_lead_somewhere(self):
        self.assertIn("README.md", pages())
        self.assertIn("docs/sync.md", pages())
        self.assertEqual([link for p in pages() for link in broken_links(p, read(p))], [])

    def test_what_is_broken_is_found(self):
        text = "# A b\n[a](#a-b) [b](#no)\n[c](sync.md) [d](no.md)\n[e](sync.md#no)\n`[f](no)`\n"
        self.assertEqual(
            broken_links("docs/x.md", text),
            ["docs/x.md:2: #no", "docs/x.md:3: no.md", "docs/x.md:4: sync.md#no"],
        )

    def test_each_page_is_found_from_the_beginning(self):
        begin = read("docs/README.md") + read("README.md").replace("](docs/", "](")
        for page in pages():
            if page.startswith("docs/") and page != "docs/README.md":
                self.assertIn(f"]({page[5:]})", begin, "neither docs/README.md nor README.md has a link")


class ComingFromGevent(unittest.TestCase):
    """Names in docs/from_gevent.md that are said to be grove's, and tests, are there."""

    def test_names_are_there(self):
        declared = {w for f in sources((".h", ".bzl")) for w in re.findall(r"\w+", read(f))}
        documented = read("docs/configuration.md")
        names = {os.path.basename(f) for f in sources((".cc", ".h", ".py"))}
        rows = 0
        for number, line in enumerate(read("docs/from_gevent.md").splitlines(), 1):
            cells = re.split(r" \|(?: |$)", line[2:]) if line.startswith("| ") else []
            if len(cells) < 5 or not re.search(r"[A-Z]{2}-\d", cells[0]):
                continue
            rows += 1
            self.assertNotEqual(cells[2].strip() + cells[3].strip(), "", f"line {number} says nothing")
            for code in re.findall(r"`([^`]+)`", cells[2]):
                # What libc and Python call it may stand there as well, in lower case.
                for name in re.findall(r"(?<![\w:])(?!absl|std)[A-Z]\w{2,}", code):
                    self.assertTrue(name in declared or name in documented, f"line {number}: {name} is in no header")
            for test in re.findall(r"`([^`]+)`", cells[4]):
                self.assertIn(os.path.basename(test), names, f"line {number}")
        self.assertGreater(rows, 200)


    def test_no_row_is_left_out(self):
        numbers = {}
        for line in read("docs/from_gevent.md").splitlines():
            for kind, number in re.findall(r"([A-Z]{2})-(\d+)", line.split(" | ")[0]):
                numbers.setdefault(kind, set()).add(int(number))
        self.assertGreater(len(numbers), 25)
        for kind, there in numbers.items():
            self.assertEqual(set(range(1, max(there) + 1)) - there, set(), kind)


class Examples(unittest.TestCase):
    def test_each_has_its_entry(self):
        programs = [f for f in sources((".cc",)) if re.match(r"examples/\w+\.cc$", f)
                    and re.search(r"^int main\(", read(f), re.M)]
        self.assertGreater(len(programs), 20)
        page = read("docs/examples.md")
        self.assertEqual([f for f in programs if f"](../{f})" not in page], [])


class Headers(unittest.TestCase):
    """docs/headers.md has all public headers: those that are not for grove's own tests."""

    def test_each_public_one_is_listed(self):
        public = [f for f in sources((".h",))
                  if re.match(r"(hub|green|sync|net|patch)/(?!.*internal/)", f)
                  and not re.search(r"test_util\.h$|_tests?\.h$|lock_contract\.h$|adapters/|http2_peer\.h$|tls_certificates\.h$", f)]
        self.assertGreater(len(public), 130)
        page = read("docs/headers.md")
        self.assertEqual([f for f in public + ["green/testing/greenlet_test.h"] if f"](../{f})" not in page], [])


class Promises(unittest.TestCase):
    """Tests that docs/promises.md names are there."""

    def test_each_has_its_tests(self):
        rows = 0
        for number, line in enumerate(read("docs/promises.md").splitlines(), 1):
            cells = line.strip("| ").split(" | ")
            if len(cells) != 3 or cells[0] == "what hurts":
                continue
            rows += 1
            file = None
            for name in re.findall(r"`([^`]+)`", cells[2]):
                if "/" in name:
                    file = read(name)
                else:
                    self.assertTrue(re.search(rf"\b{name}\b", file), f"line {number}: there is no {name}")
            self.assertTrue(file or "](" in cells[2], f"line {number} names no test")
        self.assertGreater(rows, 25)


class Code(unittest.TestCase):
    def test_all_of_it_is_compiled(self):
        with_code = {p for p in pages() if re.search(r"^ *```cpp", read(p), re.M)}
        known = {f"docs/{name}.md" for name in CHECKED} | {"README.md"}
        self.assertEqual(with_code - known, set(), "to be added to docs/BUILD.bazel")

    def compile(self, page):
        """What the compiler says of a page's blocks, which include nothing of grove."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("page.md", page), ("docs/code/support.h",
                               "#define DOCS_PARAMETERS\nnamespace docs { struct Anything "
                               "{ Anything() {} template <class T> Anything(T&&) {} }; }\n")):
                path = os.path.join(folder, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
            subprocess.run([sys.executable, EXTRACT, "page.md", "", "page.cc"], cwd=folder, check=True)
            return subprocess.run(
                ["g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-I.", "-fsyntax-only", "page.cc"],
                cwd=folder, capture_output=True, text=True, check=False)

    def test_what_is_fine_compiles(self):
        done = self.compile(
            "```cpp\nint a = 1;\nif (a) return a;\nreturn \"b\";\n```\n"
            "```\nno C++\n```\n"
            "```cpp\n#include <string>\n\nvoid F(std::string s) {\n  ...\n  if (s.empty()) ...  // so\n}\n```\n"
            "```cpp file\nint G(int a,\n      int b) { return a + b; }\n```\n"
            "```cpp\nint main() {\n  auto f = [] { ... };\n}\n```\n")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_an_error_names_page_and_line(self):
        done = self.compile("# A page\n\n```cpp\nint a = 1;\nint b = no;\n```\n\n```cpp\n#include \"no.h\"\n```\n")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("page.md:9:", done.stderr)
        done = self.compile("# A page\n\n```cpp\nint a = 1;\nint b = no;\n```\n")
        self.assertIn("page.md:5:9: error: ‘no’" if "‘" in done.stderr else "page.md:5:9: error: 'no'", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
