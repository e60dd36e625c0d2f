"""How an example is declared: a program, and the test that runs it."""

load("//tools:build_defs.bzl", "grove_cc_binary")

def grove_example_program(name, deps, **kwargs):
    """The program <name>, whose source is <name>.cc."""
    grove_cc_binary(
        name = name,
        srcs = [name + ".cc"],
        deps = deps + [
            ":parse_flags",
            "//green",
            "//hub:clock",
            "@com_google_absl//absl/flags:flag",
            "@com_google_absl//absl/status",
            "@com_google_absl//absl/status:statusor",
            "@com_google_absl//absl/strings",
            "@com_google_absl//absl/time",
        ],
        **kwargs
    )

def grove_example_test(name, programs, size = "small", data = [], **kwargs):
    """<name>.py, which is given where these programs are, in this order."""
    native.sh_test(
        name = name,
        size = size,
        srcs = ["//tools:run_python.sh"],
        args = ["$(location %s.py)" % name] + ["$(location %s)" % p for p in programs],
        data = [
            name + ".py",
            "testing.py",
        ] + programs + data,
        **kwargs
    )

def grove_example(name, deps, size = "small", data = [], tags = [], **kwargs):
    """The program <name>, and <name>_test.py with it."""
    grove_example_program(
        name = name,
        deps = deps,
        **kwargs
    )
    grove_example_test(
        name = name + "_test",
        size = size,
        data = data,
        programs = [":" + name],
        tags = tags,
    )
