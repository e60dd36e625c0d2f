"""This repository's own libev: a static one, under the label that grove uses.

It stands for what a real host has, a libev built from source say: something that is not
what grove would have chosen. Here it is the distribution's archive, linked statically,
with a define and a header that grove's own @libev does not have.
"""

_BUILD = """
cc_library(
    name = "libev",
    srcs = ["libev.a"],
    hdrs = [
        "include/ev.h",
        "include/vendored_libev.h",
    ],
    # Reaches whatever depends on this library, however far away.
    defines = ["VENDORED_LIBEV=1"],
    includes = ["include"],
    visibility = ["//visibility:public"],
)
"""

_HEADER = """#ifndef VENDORED_LIBEV_H_
#define VENDORED_LIBEV_H_

// Only the vendoring repository's @libev has this header.
inline constexpr char kLibevComesFrom[] = "the vendoring repository";

#endif  // VENDORED_LIBEV_H_
"""

def _vendored_libev_impl(rctx):
    # The compiler knows where the distribution keeps its archives.
    result = rctx.execute(["gcc", "-print-file-name=libev.a"])
    archive = result.stdout.strip()
    if result.return_code != 0 or not archive.startswith("/"):
        fail("{}: there is no libev.a. Install the package `libev-dev`.".format(rctx.name))
    rctx.symlink(archive, "libev.a")
    rctx.symlink("/usr/include/ev.h", "include/ev.h")
    rctx.file("include/vendored_libev.h", _HEADER)
    rctx.file("BUILD.bazel", _BUILD)

vendored_libev = repository_rule(
    implementation = _vendored_libev_impl,
    doc = "The distribution's static libev, as a host would bring its own.",
    local = True,
)
