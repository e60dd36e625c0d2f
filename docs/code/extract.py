"""Makes a C++ source of the ```cpp blocks of a Markdown page, so that they are compiled.

Usage: extract.py PAGE.md CONTEXT.h OUT.cc       all blocks; CONTEXT.h may be ""
       extract.py --source NAME PAGE.md OUT       one block as it is, a file by itself

What the blocks of a page take for given, CONTEXT.h declares: it is included first, and
opens the namespace docs_<page>, in which each block has a namespace of its own. Line
numbers are those of the page.

A block is the body of a function, or, if it defines functions, classes or tests, part of
a file. What is after "cpp" on the fence says more:

    file   part of a file, where that cannot be told by its look
    source=NAME   a whole file of that name, which is compiled by itself, and run by a test
    run    is run as a test: its body or its main(), which has to return 0, in a greenlet;
           what stands behind "// prints: " is what it has to print, line by line

"..." as a statement, or as the body of something, stands for what is left out.
"""

import re
import sys

FENCE = re.compile(r"^( *)```(\S*) *(.*)$")

# What shows that a block is part of a file: main(), a class, a test, a variable with
# static storage, or a function whose head is one line.
FILE_SCOPE = re.compile(
    r"^(int main\(|class |struct |template|constinit |GREENLET_TEST|TEST"
    r"|(?!(?:return|else|for|if|while|switch|do|try)\b)[\w:<>*&, ]+ [*&]?\w+\([^=\[\n]*\) \{$)",
    re.MULTILINE,
)
# A return with a value makes the function around a body one that returns anything.
RETURNS_VALUE = re.compile(r"\breturn\b\s*[^;\s]")


class Block:
    """A ```cpp block: the line of its first line of code, what its fence says, its code."""

    def __init__(self, line, words):
        self.line = line
        self.words = words
        self.code = []


def blocks_of(text):
    """The ```cpp blocks of a page."""
    blocks = []
    inside = None
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if not fence:
            if inside:
                inside.code.append(line)
        elif inside is None:
            inside = Block(number + 1, fence[3].split())
            if fence[2] == "cpp":
                known = ("file", "run")
                unknown = [w for w in inside.words
                           if w not in known and not w.startswith("source=")]
                if unknown:
                    sys.exit(f"line {number}: a cpp block says {unknown}")
                blocks.append(inside)
        else:
            inside = None
    if inside is not None:
        sys.exit(f"line {inside.line}: this block has no end")
    return blocks


def fill_in(line):
    """A line with what was left out made into something that compiles."""
    line = re.sub(r"^(\s*)\.\.\.(?=\s*(//.*)?$)", r"\1(void)0;", line)
    line = re.sub(r"(?<=\{ )\.\.\.(?= \})", "", line)
    return re.sub(r"(?<=\) )\.\.\.(?=\s*(//.*)?$)", "{}", line)


def source_of(page, context, text):
    """The source, the includes of all blocks first: a namespace must not be around them."""
    namespace = "docs_" + re.sub(r"\W", "_", re.sub(r"^.*/|\.md$", "", page)).lower()
    includes = []
    bodies = []
    for block in blocks_of(text):
        if any(word.startswith("source=") for word in block.words):
            continue
        lines = []
        for i, line in enumerate(block.code):
            if line.startswith("#include"):
                includes.append(f'#line {block.line + i} "{page}"\n{line}\n')
                lines.append("")
            else:
                lines.append(fill_in(line))
        bodies.append((block, "\n".join(lines) + "\n"))

    out = ['#include "docs/code/support.h"\n']
    out.extend(includes)
    if context:
        out.append(f'#include "{context}"\n')
    # Fragments define variables and functions that nothing uses, and main() may end
    # without a return.
    for warning in ["unused", "unused-function", "unused-variable", "unused-but-set-variable",
                    "unused-value",
                    "unused-parameter", "return-type", "comment"]:
        out.append(f'#pragma GCC diagnostic ignored "-W{warning}"\n')
    out.append(f"namespace {namespace} {{\nnamespace {{\n")
    for block, code in bodies:
        out.append(f"namespace line_{block.line} {{\n")
        file_scope = "file" in block.words or FILE_SCOPE.search(code)
        run = "run" in block.words
        entry = None
        if file_scope:
            if run:
                code, found = re.subn(r"^int main\(\)", "int docs_main()", code, flags=re.M)
                entry = "EXPECT_EQ(docs_main(), 0);" if found else None
            out.append(f'#line {block.line} "{page}"\n{code}')
        else:
            returns = RETURNS_VALUE.search(re.sub(r"//.*", "", code))
            result = "docs::Anything" if returns else "void"
            end = "return docs::Anything();\n" if returns else ""
            out.append(f'[[maybe_unused]] {result} Body(DOCS_PARAMETERS) {{\n#line {block.line} "{page}"\n')
            out.append(f"{code}{end}}}\n")
            entry = "Body();"
        if run and entry:
            expected = "".join(t + "\\n" for t in re.findall(r"// prints: (.*)", code))
            expected = expected.replace('"', '\\"')
            out.append(
                f"GREENLET_TEST({namespace.title().replace('_', '')}, Line{block.line}) {{\n"
                f"  docs::Output output;\n  {entry}\n"
                f'  EXPECT_EQ(output.Take(), "{expected}");\n}}\n'
            )
        out.append(f"}}  // namespace line_{block.line}\n")
    out.append("}  // namespace\n}\n")
    return "".join(out)


def file_of(page, name, text):
    """The file of that name."""
    found = [b for b in blocks_of(text) if f"source={name}" in b.words]
    if len(found) != 1:
        sys.exit(f"{page}: {len(found)} blocks are called {name}")
    return f'#line {found[0].line} "{page}"\n' + "\n".join(found[0].code) + "\n"


def main():
    if sys.argv[1] == "--source":
        name, page, out = sys.argv[2:]
    else:
        page, context, out = sys.argv[1:]
        name = None
    with open(page, encoding="utf-8") as file:
        text = file.read()
    source = file_of(page, name, text) if name else source_of(page, context, text)
    with open(out, "w", encoding="utf-8") as file:
        file.write(source)


if __name__ == "__main__":
    main()
