"""How grove's own targets are declared."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

def grove_cc_library(name, **kwargs):
    """A library whose headers are included as "grove/<folder>/<header>"."""
    cc_library(
        name = name,
        include_prefix = "grove",
        strip_include_prefix = "/",
        **kwargs
    )

def grove_cc_test(name, srcs = None, deps = [], size = "small", **kwargs):
    """A GoogleTest whose source is <name>.cc."""
    cc_test(
        name = name,
        srcs = srcs or [name + ".cc"],
        size = size,
        deps = deps + ["@com_google_googletest//:gtest_main"],
        **kwargs
    )

grove_cc_binary = cc_binary
