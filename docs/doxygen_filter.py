"""Doxygen's INPUT_FILTER: grove's comments as Doxygen reads them.

Usage: doxygen_filter.py HEADER      writes the header to stdout

What stands directly before declarations documents them, what stands before a namespace
the file, what stands behind a member that member:

    // Class::Method(), Class::Other()       the heading, which is left out
    //
    // What both do.
    //
    //   an.Example();                       is code
    void Method();                           each of these gets it
    void Other();
"""

import re
import sys

COMMENT = re.compile(r"^( *)//(?!/)( ?)(.*)$")
# The names that a comment begins with: "Class", "Class::Method(), Class::Other()".
HEADING = re.compile(r"^[~\w:]+(<[^>]*>)?(\(\))?((,| and| or) [~\w:]+(<[^>]*>)?(\(\))?)*,?$")
TRAILING = re.compile(r"^( *[\w}][^\"]*[;,\w}])  +// (.*)$")
# What begins like that is there for others of grove's files.
NOT_API = ("For the layers above", "For tests of", "For Spawn()", "For patch", "For grove")


def escape(text):
    """Prose in which nothing is a command, a tag or a link by accident."""
    parts = re.split(r"(`[^`]*`)", text)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"([\\@<>#&$%])", r"\\\1", parts[i])
        parts[i] = re.sub(r"\\%", "%", parts[i])
        parts[i] = parts[i].replace("::", "\\::").replace("--", "\\--")
        parts[i] = parts[i].replace("*", "\\*").replace("_", "\\_").replace('"', "&quot;")
    return "".join(parts)


def heading(lines):
    """The names that a comment begins with; "" if it begins with something else."""
    count = 0
    while count < len(lines) and HEADING.match(lines[count]):
        count += 1
    return " ".join(lines[:count]) if count < len(lines) and lines[count] == "" else ""


def prose(lines):
    """The lines of a comment, without "//", as Doxygen's: headings dropped, examples code."""
    if heading(lines):
        lines = lines[lines.index(""):]
    while lines and lines[0] == "":
        lines = lines[1:]
    out = []
    inside = False
    for i, line in enumerate(lines):
        example = line.startswith("  ") and (inside or i == 0 or lines[i - 1] == "")
        if inside and line == "":
            # An empty line within an example, if more of it follows.
            rest = [l for l in lines[i:] if l != ""]
            example = bool(rest) and rest[0].startswith("  ")
        if example and not inside:
            out.append("@code{.cpp}")
        if inside and not example:
            out.append("@endcode")
        inside = example
        if example:
            out.append(line[2:])
        elif re.match(r"^(Blocks|Deadline|Kill|Threads): ", line):
            # Lines of their own.
            name, _, rest = line.partition(": ")
            out.extend(["", f"**{name}:** {escape(rest)}"])
        else:
            out.append(escape(line))
    if inside:
        out.append("@endcode")
    return out


def declarations(lines, begin):
    """How many lines from `begin` on belong to declarations that nothing parts."""
    end = begin
    while end < len(lines) and lines[end].strip() and not COMMENT.match(lines[end]):
        end += 1
    return end


def starts(lines, begin, end):
    """Of those, the ones at which a declaration starts: the first after each end of one."""
    found = []
    depth = 0
    fresh = True
    for i in range(begin, end):
        text = re.sub(r"//.*", "", lines[i]).rstrip()
        other = re.match(r"^\s*(\}|public:|private:|protected:|#)", text)
        # Copies that are there or not, and the end, are no part of what was explained.
        trivial = found and re.search(r"= (delete|default);|~", text)
        if fresh and depth == 0 and not other and not trivial:
            found.append(i)
        if re.search(r"\b(class|struct|enum|union|namespace)\b[^;]*\{$", text):
            # What is inside is documented by itself.
            break
        depth += text.count("{") + text.count("(") - text.count("}") - text.count(")")
        fresh = depth == 0 and text.endswith((";", "}"))
    return found


def without_nameless(lines):
    """The lines but those of structs without a name, whose members Doxygen cannot place."""
    out = []
    end = None
    for line in lines:
        if end is None:
            nameless = re.match(r"^( *)struct \{$", line)
            if nameless:
                end = f"{nameless[1]}}}"
            else:
                out.append(line)
        elif line.startswith(end):
            end = None
    return out


def converted(text):
    lines = without_nameless(text.split("\n"))
    out = []
    docs = {}  # line -> what documents the declaration that starts there
    i = 0
    while i < len(lines):
        if not COMMENT.match(lines[i]):
            line = lines[i]
            if i in docs:
                out.extend(docs[i])
            trailing = TRAILING.match(line)
            if trailing and "NOLINT" not in line and "namespace" not in line:
                line = f"{trailing[1]}  ///< {escape(trailing[2])}"
            out.append(line)
            i += 1
            continue
        end = i
        while end < len(lines) and COMMENT.match(lines[end]):
            end += 1
        indent = COMMENT.match(lines[i])[1]
        texts = [COMMENT.match(l)[3].rstrip() for l in lines[i:end]]
        body = prose(texts)
        if body and body[0].startswith(NOT_API):
            body.insert(0, "@private")
        comment = [f"{indent}/// {line}".rstrip() for line in body]
        following = lines[end] if end < len(lines) else ""
        if re.match(r"^namespace\b", following):
            out.extend(["/// @file", "///", *comment])
        elif following.strip() and not following.startswith("#"):
            found = starts(lines, end, declarations(lines, end))
            # Of functions the first, but where the heading names several.
            function = "(" in re.sub(r"=.*|//.*", "", lines[found[0]]) if found else False
            several = "," in heading(texts) or " and " in heading(texts)
            for start in found[:1] if function and not several else found:
                docs[start] = comment
        i = end
    return "\n".join(out)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(converted(file.read()))
