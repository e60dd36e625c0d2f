"""Makes the source archive; `bazel build //:dist` calls it.

Usage: dist.py VERSION_FILE OUT.tar.gz FILE...

All files lie in one folder, grove-<version>. Names are sorted and times, owners and modes
do not depend on who packs, so the same sources make the same bytes.
"""

import gzip
import io
import os
import sys
import tarfile

# 2000-01-01: some tools warn of files from 1970.
TIME = 946684800


def pack(version, out, files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(set(files)):
            if name.endswith((".pyc", ".swp", "~")) or "/bazel-" in name:
                continue
            info = tarfile.TarInfo(f"grove-{version}/{name}")
            info.size = os.stat(name).st_size
            info.mtime = TIME
            info.mode = 0o755 if os.access(name, os.X_OK) else 0o644
            with open(name, "rb") as file:
                archive.addfile(info, file)
    with open(out, "wb") as file:
        with gzip.GzipFile("", "wb", 9, file, TIME) as packed:
            packed.write(buffer.getvalue())


if __name__ == "__main__":
    with open(sys.argv[1], encoding="ascii") as version_file:
        pack(version_file.read().strip(), sys.argv[2], sys.argv[3:])
