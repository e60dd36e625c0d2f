"""The reference is there, and the headers' comments are in it.

Usage: reference_test.py REFERENCE DOXYGEN_FILTER
"""

import html
import os
import re
import subprocess
import sys
import tempfile
import unittest

REFERENCE, FILTER = map(os.path.abspath, sys.argv[1:3])


def page(name):
    """The text of a page, without tags."""
    with open(os.path.join(REFERENCE, "html", name + ".html"), encoding="utf-8") as file:
        text = re.sub(r"<script.*?</script>", "", file.read(), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split())


class Reference(unittest.TestCase):
    def test_classes_have_their_text(self):
        for name, *texts in (
            ("classgrove_1_1Greenlet", "#include <grove/green/greenlet.h>",
             "A handle to a greenlet whose function returns T.",
             "if it was killed, returns kCancelled", "Blocks: until the greenlet has ended."),
            ("classgrove_1_1Timeout", "Scopes nest, and each expiry knows its scope",
             "It will not expire any more."),
            ("classgrove_1_1net_1_1TcpStream", "A TCP connection.", "until the connection stands"),
            ("classgrove_1_1Mutex", "Lets one greenlet at a time through", "until it is this greenlet's turn"),
            ("classgrove_1_1http_1_1HttpServer", "Each connection has a greenlet of its own"),
            ("structgrove_1_1http_1_1HttpServerOptions", "The body of a request [413]."),
            ("structgrove_1_1net_1_1StreamServerStatistics", "over max_per_peer"),
        ):
            text = page(name)
            for expected in texts:
                self.assertIn(expected, text, name)

    def test_what_is_not_api_is_not_in_it(self):
        names = os.listdir(os.path.join(REFERENCE, "html"))
        self.assertGreater(len(names), 300)
        self.assertEqual([n for n in names if re.search(r"_internal|test__util", n) and
                          n.startswith(("class", "struct"))], [])


class Filter(unittest.TestCase):
    def filtered(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".h") as file:
            file.write(text)
            file.flush()
            return subprocess.run([sys.executable, FILTER, file.name], capture_output=True,
                                  text=True, check=True).stdout

    def test_headings_go_and_each_declaration_has_the_text(self):
        self.assertEqual(
            self.filtered("  // A::F(), A::G()\n  //\n  // Both.\n  void F();\n  void G();\n\n  void H();\n"),
            "  /// Both.\n  void F();\n  /// Both.\n  void G();\n\n  void H();\n")

        self.assertEqual(
            self.filtered("  // Its number.\n  int id();\n  int name();\n"),
            "  /// Its number.\n  int id();\n  int name();\n")
        self.assertEqual(
            self.filtered("  // Both.\n  int a = F(1);\n  int b = 2;\n"),
            "  /// Both.\n  int a = F(1);\n  /// Both.\n  int b = 2;\n")

    def test_copies_are_not_what_was_explained(self):
        self.assertEqual(
            self.filtered("// Makes one.\nA();\nA(const A&) = delete;\n~A();\n"),
            "/// Makes one.\nA();\nA(const A&) = delete;\n~A();\n")

    def test_examples_are_code_and_prose_is_escaped(self):
        self.assertEqual(
            self.filtered("// A <b> of `c<d>`.\n//\n//   Call(<e>);\n//\n//   More();\n//\n// Text\nclass A {\n"),
            "/// A \\<b\\> of `c<d>`.\n///\n/// @code{.cpp}\n/// Call(<e>);\n///\n/// More();\n"
            "/// @endcode\n///\n/// Text\nclass A {\n")

    def test_what_stands_behind_a_member_is_the_members(self):
        self.assertEqual(self.filtered("  int a = 0;  // so many\n"), "  int a = 0;  ///< so many\n")

    def test_a_comment_before_the_namespace_is_the_files(self):
        self.assertEqual(self.filtered("// What.\nnamespace a {\n"), "/// @file\n///\n/// What.\nnamespace a {\n")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
