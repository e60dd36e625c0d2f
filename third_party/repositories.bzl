"""grove's dependencies, for grove itself and for repositories that vendor it.

A repository that already has one of them, from source or otherwise, wins: define it
before calling grove_dependencies(). What is left comes from the distribution's
packages (tools/packages.txt lists them), under the labels that upstream uses.
"""

load("@bazel_tools//tools/build_defs/repo:utils.bzl", "maybe")
load(":distribution.bzl", "distribution_grpc", "distribution_library", "distribution_protobuf", "distribution_rules_cc", "no_coverage_tools", "optional_library", "secluded_library", "source_library")

def grove_dependencies():
    """Declares what grove needs and the calling workspace does not define."""

    # Rules. The distribution's Bazel cannot download any.
    maybe(distribution_rules_cc, name = "rules_cc")
    maybe(native.local_repository, name = "rules_java", path = "/usr/share/bazel/rules/java")
    maybe(native.local_repository, name = "rules_proto", path = "/usr/share/bazel/rules/proto")
    maybe(native.local_repository, name = "bazel_skylib", path = "/usr/share/bazel/tools/skylib")
    maybe(native.local_repository, name = "platforms", path = "/usr/share/bazel/tools/platforms")
    maybe(no_coverage_tools, name = "remote_coverage_tools")

    # Abseil, as shared libraries: gRPC's library brings those, and two copies of
    # Abseil in one process must not meet.
    maybe(
        distribution_library,
        name = "com_google_absl",
        package = "libabsl-dev",
        headers = ["absl/base/config.h"],
        pkg_config = {
            "absl/base:core_headers": ["absl_core_headers"],
            "absl/cleanup:cleanup": ["absl_cleanup"],
            "absl/container:inlined_vector": ["absl_inlined_vector"],
            "absl/debugging:stacktrace": ["absl_stacktrace"],
            "absl/debugging:symbolize": ["absl_symbolize"],
            "absl/flags:flag": ["absl_flags"],
            "absl/flags:parse": ["absl_flags_parse"],
            "absl/flags:reflection": ["absl_flags_reflection"],
            "absl/flags:usage": ["absl_flags_usage"],
            "absl/functional:any_invocable": ["absl_any_invocable"],
            "absl/functional:function_ref": ["absl_function_ref"],
            "absl/status:status": ["absl_status"],
            "absl/status:statusor": ["absl_statusor"],
            "absl/strings:cord": ["absl_cord"],
            "absl/strings:str_format": ["absl_str_format"],
            "absl/strings:strings": ["absl_strings"],
            "absl/synchronization:synchronization": ["absl_synchronization"],
            "absl/time:time": ["absl_time"],
            "absl/types:span": ["absl_span"],
        },
    )
    maybe(
        distribution_library,
        name = "libev",
        package = "libev-dev",
        headers = ["ev.h"],
        link = {":libev": ["-lev"]},
    )
    maybe(
        distribution_library,
        name = "com_google_googletest",
        package = "libgtest-dev libgmock-dev",
        headers = ["gtest/gtest.h", "gmock/gmock.h"],
        link = {
            ":gtest": ["-lgmock", "-lgtest", "-lpthread"],
            ":gtest_main": ["-lgmock_main", "-lgmock", "-lgtest", "-lpthread"],
        },
    )

    # Out of the way of OpenSSL, which has the same names: no process may have both.
    maybe(
        secluded_library,
        name = "boringssl",
        package = "android-libboringssl-dev",
        include = "/usr/include/android",
        header_folder = "openssl",
        library_folder = "android",
        targets = {
            "ssl": ["ssl", "crypto"],
            "crypto": ["crypto"],
        },
    )

    maybe(
        distribution_library,
        name = "com_github_cares_cares",
        package = "libc-ares-dev",
        headers = ["ares.h"],
        pkg_config = {":ares": ["libcares"]},
    )

    # HTTP/2's frames, streams and header compression.
    maybe(
        distribution_library,
        name = "com_github_nghttp2_nghttp2",
        package = "libnghttp2-dev",
        headers = ["nghttp2/nghttp2.h"],
        pkg_config = {":nghttp2": ["libnghttp2"]},
    )

    # Content codings: gzip and deflate, and br.
    maybe(
        distribution_library,
        name = "zlib",
        package = "zlib1g-dev",
        headers = ["zlib.h"],
        pkg_config = {":zlib": ["zlib"]},
    )
    maybe(
        distribution_library,
        name = "org_brotli",
        package = "libbrotli-dev",
        headers = ["brotli/decode.h", "brotli/encode.h"],
        pkg_config = {
            ":brotlidec": ["libbrotlidec"],
            ":brotlienc": ["libbrotlienc"],
        },
    )

    # The parser of HTTP/1.1, 8.1.0: the distribution has it as C sources only, among
    # node's modules. Strict: nothing that HTTP forbids is let through.
    maybe(
        source_library,
        name = "llhttp",
        package = "node-llhttp",
        sources = "/usr/share/llhttp",
        headers = "/usr/share/include/llhttp",
        defines = ["LLHTTP_STRICT_MODE=1"],
    )

    # For examples/grpc. Repositories are made when something needs them: who builds no
    # gRPC needs none of its packages.
    maybe(distribution_protobuf, name = "com_google_protobuf")
    maybe(distribution_grpc, name = "com_github_grpc_grpc")

    # What the benchmarks compare with; only where it is installed.
    maybe(
        optional_library,
        name = "boost_fiber",
        header = "boost/fiber/all.hpp",
        target = "boost_fiber",
        link = ["-lboost_fiber", "-lboost_context"],
    )
