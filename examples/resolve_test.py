"""The resolve example finds what needs no server, and says what is nobody's name."""

import subprocess
import sys

PROGRAM = sys.argv[1]


def run(*names):
    return subprocess.run(
        [PROGRAM, "--seconds=60", *names], capture_output=True, text=True, timeout=120
    )


good = run("127.1", "::1", "localhost")
assert good.returncode == 0, good
lines = dict(line.split(": ") for line in good.stdout.splitlines())
assert lines["127.1"] == "127.0.0.1", lines
assert lines["::1"] == "::1", lines
assert set(lines["localhost"].split()) == {"127.0.0.1", "::1"}, lines

bad = run("127.1", "a..b")
assert bad.returncode == 1, bad
assert "127.1: 127.0.0.1" in bad.stdout, bad
assert "nothing before a dot" in bad.stderr, bad
for flag in ["--seconds=x", "--nonsense"]:
    refused = run(flag)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1), refused
assert "resolve [--seconds=10] NAME..." in run("--help").stdout
print("ok")
