"""Makes the reference from the public headers, and fails if Doxygen warns of anything.

Usage: reference.py DOXYFILE FILTER OUT HEADER...
"""

import os
import shutil
import subprocess
import sys
import tempfile

MAIN_PAGE = """/** @mainpage grove

The reference, made from the comments of the headers. The guide is in docs/README.md.

Namespaces: grove (greenlets, hubs, synchronisation, files, processes), grove::net (sockets,
names, TLS, servers), grove::http, and grove::patch.
*/
"""


def is_public(path):
    return not path.endswith(("_test_util.h", "_tests.h", "_contract.h", "patched_test.h"))


def main():
    doxyfile, filter_script, out = map(os.path.abspath, sys.argv[1:4])
    headers = [h for h in sys.argv[4:] if is_public(h)]
    with tempfile.TemporaryDirectory() as folder:
        # As they are included: "grove/green/greenlet.h".
        for header in headers:
            copy = os.path.join(folder, "grove", header)
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copyfile(header, copy)
        with open(os.path.join(folder, "main.dox"), "w", encoding="utf-8") as file:
            file.write(MAIN_PAGE)
        with open(doxyfile, encoding="utf-8") as file:
            config = file.read() + (
                f"INPUT = {folder}\nSTRIP_FROM_PATH = {folder}\nSTRIP_FROM_INC_PATH = {folder}\n"
                f'INPUT_FILTER = "/usr/bin/python3 {filter_script}"\nOUTPUT_DIRECTORY = {out}\n')
        done = subprocess.run(["doxygen", "-"], input=config, text=True, capture_output=True,
                              cwd=folder, check=False)
        warnings = done.stderr.replace(folder + "/grove/", "")
    if done.returncode != 0 or warnings.strip():
        sys.exit(warnings or f"doxygen: exit code {done.returncode}")


if __name__ == "__main__":
    main()
