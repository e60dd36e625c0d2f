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

def grove_fuzz_target(name, srcs, corpus, deps):
    """A libFuzzer target, <something>_fuzz, with the files of a directory as its corpus.

    tools/fuzz.sh builds and runs it; <name>_corpus_test goes through the corpus, in each
    configuration.
    """
    cc_library(
        name = name + "_target",
        testonly = True,
        srcs = srcs,
        deps = deps,
        alwayslink = True,
        visibility = ["//visibility:private"],
    )
    cc_binary(
        name = name,
        testonly = True,
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["manual"],
        deps = [name + "_target"],
    )
    cc_test(
        name = name + "_corpus_test",
        size = "small",
        args = [native.package_name() + "/" + corpus],
        data = native.glob([corpus + "/*"]),
        deps = [
            name + "_target",
            "//net:fuzz_corpus_main",
        ],
    )
