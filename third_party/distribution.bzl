"""Repositories made of the distribution's own packages.

Headers lie in the compiler's default search path and libraries in the linker's, so
such a repository holds labels and link options only. It fails early, naming the
package to install, when the files it stands for are missing.
"""

def _missing(rctx, what, package):
    fail("{}: {} is not installed. Install the package `{}`, or start Bazel by ./tools/bazel, which does it for you.".format(rctx.name, what, package))

def _pkg_config_libs(rctx, modules, package):
    """The linker's flags of pkg-config modules, each library before what it needs."""
    result = rctx.execute(["pkg-config", "--libs"] + modules)
    if result.return_code != 0:
        _missing(rctx, "pkg-config module " + ", ".join(modules), package)

    # Not --as-needed: where Bazel links our own libraries as shared objects, the need
    # for these is in them, and the linker does not see it when it links the program.
    return [flag for flag in result.stdout.strip().split(" ") if flag.startswith("-l")]

def _cc_library(name, linkopts, deps = []):
    return """
cc_library(
    name = {name},
    linkopts = {linkopts},
    deps = {deps},
    visibility = ["//visibility:public"],
)
""".format(name = repr(name), linkopts = repr(linkopts), deps = repr(deps))

def _distribution_library_impl(rctx):
    attr = rctx.attr
    for header in attr.headers:
        if not rctx.path("/usr/include/" + header).exists:
            _missing(rctx, "/usr/include/" + header, attr.package)
    build_files = {}
    for label, modules in attr.pkg_config.items():
        folder, _, name = label.rpartition(":")
        build_files.setdefault(folder, []).append(
            _cc_library(name, _pkg_config_libs(rctx, modules, attr.package)),
        )
    for label, linkopts in attr.link.items():
        folder, _, name = label.rpartition(":")
        build_files.setdefault(folder, []).append(_cc_library(name, linkopts))
    for folder, rules in build_files.items():
        rctx.file((folder + "/" if folder else "") + "BUILD.bazel", "".join(rules))
    if "" not in build_files:
        rctx.file("BUILD.bazel", "")

distribution_library = repository_rule(
    implementation = _distribution_library_impl,
    doc = "Gives upstream's labels to libraries that the distribution has installed.",
    local = True,
    attrs = {
        "package": attr.string(mandatory = True, doc = "The package(s) to name when something is missing."),
        "headers": attr.string_list(doc = "Headers under /usr/include that must be there."),
        "pkg_config": attr.string_list_dict(doc = "'folder:name' of a target -> pkg-config modules."),
        "link": attr.string_list_dict(doc = "'folder:name' of a target -> linker options."),
    },
)

def _library_folder(rctx, folder, library, package):
    """The folder under the library path of this machine's kind that has `library`."""
    for kind in ["x86_64-linux-gnu", "aarch64-linux-gnu"]:
        path = "/usr/lib/{}/{}".format(kind, folder)
        if rctx.path(path + "/" + library).exists:
            return path
    _missing(rctx, library, package)
    return None

def _secluded_library_impl(rctx):
    attr = rctx.attr
    headers = rctx.path(attr.include + "/" + attr.header_folder)
    if not headers.exists:
        _missing(rctx, str(headers), attr.package)
    rctx.symlink(headers, "include/" + attr.header_folder)
    rules = []
    for name, libraries in attr.targets.items():
        folder = _library_folder(rctx, attr.library_folder, "lib{}.so".format(libraries[0]), attr.package)
        linkopts = ["-L" + folder, "-Wl,-rpath," + folder] + ["-l" + library for library in libraries]
        rules.append("""
cc_library(
    name = {name},
    hdrs = glob(["include/**/*.h"]),
    includes = ["include"],
    linkopts = {linkopts},
    visibility = ["//visibility:public"],
)
""".format(name = repr(name), linkopts = repr(linkopts)))
    rctx.file("BUILD.bazel", "".join(rules))

secluded_library = repository_rule(
    implementation = _secluded_library_impl,
    doc = "A library that the distribution keeps out of the default paths, since another one has the same names.",
    local = True,
    attrs = {
        "package": attr.string(mandatory = True, doc = "The package to name when something is missing."),
        "include": attr.string(mandatory = True, doc = "The folder that has header_folder."),
        "header_folder": attr.string(mandatory = True, doc = "What #include <...> begins with."),
        "library_folder": attr.string(mandatory = True, doc = "Under the library path of the machine's kind."),
        "targets": attr.string_list_dict(doc = "Name of a target -> libraries, each before what it needs."),
    },
)

def _source_library_impl(rctx):
    attr = rctx.attr
    for folder in [attr.sources, attr.headers]:
        if not rctx.path(folder).exists:
            _missing(rctx, folder, attr.package)
    rctx.symlink(attr.sources, "src")
    rctx.symlink(attr.headers, "include")
    rctx.file("BUILD.bazel", """
cc_library(
    name = {name},
    srcs = glob(["src/*.c"]),
    hdrs = glob(["include/*.h"]),
    defines = {defines},
    includes = ["include"],
    visibility = ["//visibility:public"],
)
""".format(name = repr(rctx.name), defines = repr(attr.defines)))

source_library = repository_rule(
    implementation = _source_library_impl,
    doc = "A library that the distribution has as sources, which are compiled here: @<name>//:<name>.",
    local = True,
    attrs = {
        "package": attr.string(mandatory = True, doc = "The package to name when something is missing."),
        "sources": attr.string(mandatory = True, doc = "The folder with its *.c."),
        "headers": attr.string(mandatory = True, doc = "The folder with its *.h."),
        "defines": attr.string_list(doc = "For the library and all that use it."),
    },
)

def _rules_cc_impl(rctx):
    source = rctx.path("/usr/share/bazel/rules/cc")
    if not source.exists:
        _missing(rctx, str(source), "bazel-rules-cc")
    rctx.execute(["cp", "-rL", str(source) + "/.", "."])

    # This rules_cc asks @bazel_tools for use_cpp_toolchain(), which Bazel 4.2.3 has
    # not got; the toolchain's type, which the function would return, it has.
    for path in ["cc_flags_supplier.bzl", "compiler_flag.bzl"]:
        path = "cc/private/rules_impl/" + path
        text = rctx.read(path)
        text = text.replace(", \"use_cpp_toolchain\"", "")
        text = text.replace("use_cpp_toolchain()", "[\"@bazel_tools//tools/cpp:toolchain_type\"]")
        rctx.file(path, text)

distribution_rules_cc = repository_rule(
    implementation = _rules_cc_impl,
    doc = "The distribution's rules_cc, mended for the distribution's Bazel.",
    local = True,
)

def _remote_coverage_tools_impl(rctx):
    rctx.file("BUILD.bazel", """
filegroup(name = "coverage_report_generator", visibility = ["//visibility:public"])
""")

no_coverage_tools = repository_rule(
    implementation = _remote_coverage_tools_impl,
    doc = "Stands in for @remote_coverage_tools, which every cc_test names and Bazel would download.",
)

def _optional_library_impl(rctx):
    attr = rctx.attr
    found = rctx.path("/usr/include/" + attr.header).exists
    rctx.file("BUILD.bazel", _cc_library(attr.target, attr.link if found else []))

optional_library = repository_rule(
    implementation = _optional_library_impl,
    doc = "For a library that something is compared with: an empty target without it. Code asks __has_include.",
    local = True,
    attrs = {
        "header": attr.string(mandatory = True, doc = "A header under /usr/include that shows that it is there."),
        "target": attr.string(mandatory = True, doc = "The name of the target."),
        "link": attr.string_list(doc = "Linker options."),
    },
)

# The messages that come with protobuf, and what each imports.
_WELL_KNOWN = {
    "any": [],
    "api": ["source_context", "type"],
    "descriptor": [],
    "duration": [],
    "empty": [],
    "field_mask": [],
    "source_context": [],
    "struct": [],
    "timestamp": [],
    "type": ["any", "source_context"],
    "wrappers": [],
}

def _protobuf_impl(rctx):
    compiler = rctx.path("/usr/bin/protoc")
    if not compiler.exists:
        _missing(rctx, str(compiler), "protobuf-compiler")
    if not rctx.path("/usr/include/google/protobuf/message.h").exists:
        _missing(rctx, "google/protobuf/message.h", "libprotobuf-dev")
    rctx.symlink(compiler, "protoc")
    build = """
load("@rules_proto//proto:defs.bzl", "proto_lang_toolchain", "proto_library")

package(default_visibility = ["//visibility:public"])

exports_files(["protoc"])

# What cc_proto_library asks for. The messages that come with protobuf are in its library.
proto_lang_toolchain(
    name = "cc_toolchain",
    blacklisted_protos = {known},
    command_line = "--cpp_out=$(OUT)",
    runtime = ":protobuf",
)
""".format(known = repr([":%s_proto" % name for name in _WELL_KNOWN]))
    build += _cc_library("protobuf", _pkg_config_libs(rctx, ["protobuf"], "libprotobuf-dev"))
    build += _cc_library("protobuf_lite", _pkg_config_libs(rctx, ["protobuf-lite"], "libprotobuf-dev"))
    for name, deps in _WELL_KNOWN.items():
        path = "google/protobuf/{}.proto".format(name)
        rctx.symlink("/usr/include/" + path, "src/" + path)
        build += """
proto_library(
    name = {name},
    srcs = [{src}],
    strip_import_prefix = "src",
    deps = {deps},
)
""".format(
            name = repr(name + "_proto"),
            src = repr("src/" + path),
            deps = repr([":%s_proto" % dep for dep in deps]),
        )
    rctx.file("BUILD.bazel", build)

distribution_protobuf = repository_rule(
    implementation = _protobuf_impl,
    doc = "The distribution's protobuf, so that proto_library and cc_proto_library work with no flag.",
    local = True,
)

def _grpc_impl(rctx):
    plugin = rctx.path("/usr/bin/grpc_cpp_plugin")
    if not plugin.exists:
        _missing(rctx, str(plugin), "protobuf-compiler-grpc")
    if not rctx.path("/usr/include/grpcpp/grpcpp.h").exists:
        _missing(rctx, "grpcpp/grpcpp.h", "libgrpc++-dev")
    folder = _library_folder(rctx, "", "libgrpc++_reflection.a", "libgrpc++-dev")
    rctx.symlink(plugin, "src/compiler/grpc_cpp_plugin")
    rctx.file("src/compiler/BUILD.bazel", """exports_files(["grpc_cpp_plugin"])
""")
    rctx.symlink(rctx.attr.rule, "bazel/cc_grpc_library.bzl")
    rctx.file("bazel/BUILD.bazel", "")

    # gRPC's headers use Abseil's mutex.
    abseil = ["@com_google_absl//absl/synchronization"]
    targets = [
        _cc_library("grpc++", ["-lgrpc++", "-lgrpc", "-lgpr"], abseil),
        _cc_library("grpc++_unsecure", ["-lgrpc++_unsecure", "-lgrpc_unsecure", "-lgpr"], abseil),
        _cc_library("grpc++_codegen_proto", [], ["@com_google_protobuf//:protobuf"]),
    ]

    # The shared library of reflection brings in the one of gRPC with TLS, and so OpenSSL.
    # The archive needs neither, so that it does with grpc++_unsecure as well. All of it:
    # it registers itself.
    archive = "-Wl,--whole-archive,{}/libgrpc++_reflection.a,--no-whole-archive".format(folder)
    targets.append(_cc_library("grpc++_reflection", [archive], ["@com_google_protobuf//:protobuf"]))
    rctx.file("BUILD.bazel", "".join(targets))

distribution_grpc = repository_rule(
    implementation = _grpc_impl,
    doc = "The distribution's gRPC, under upstream's labels.",
    local = True,
    attrs = {
        "rule": attr.label(default = Label("//third_party:cc_grpc_library.bzl"), allow_single_file = True),
    },
)
