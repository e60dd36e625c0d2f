"""cc_grpc_library: C++ stubs and services of a proto_library.

What upstream's rule of this name does, for the distribution's gRPC, which has none. Of
upstream's arguments it takes those that are used when the messages have a
cc_proto_library of their own:

    load("@com_github_grpc_grpc//bazel:cc_grpc_library.bzl", "cc_grpc_library")

    proto_library(name = "demo_proto", srcs = ["demo.proto"])
    cc_proto_library(name = "demo_cc_proto", deps = [":demo_proto"])
    cc_grpc_library(
        name = "demo_cc_grpc",
        srcs = [":demo_proto"],
        grpc_only = True,
        deps = [":demo_cc_proto"],
    )

The result does not say which of gRPC's libraries a program is linked with: that is for
the program, by @com_github_grpc_grpc//:grpc++ or :grpc++_unsecure.
"""

load("@rules_cc//cc:defs.bzl", "cc_library")
load("@rules_proto//proto:defs.bzl", "ProtoInfo")

def _generate_impl(ctx):
    proto = ctx.attr.proto[ProtoInfo]
    root = proto.proto_source_root
    out = ctx.bin_dir.path
    if ctx.label.workspace_root:
        out += "/" + ctx.label.workspace_root
    mock = "generate_mock_code=true:" if ctx.attr.generate_mocks else ""
    arguments = ctx.actions.args()
    arguments.add("--plugin=protoc-gen-grpc=" + ctx.executable._plugin.path)
    arguments.add("--grpc_out=" + mock + out)
    arguments.add_all(proto.transitive_proto_path, format_each = "--proto_path=%s")

    sources = []
    headers = []
    for source in proto.direct_sources:
        path = source.path
        if root != "." and path.startswith(root + "/"):
            path = path[len(root) + 1:]
        stem = path[:-len(".proto")]
        package = ctx.label.package + "/" if ctx.label.package else ""
        if not stem.startswith(package):
            fail("%s is not in %s: a cc_grpc_library is declared beside its .proto" % (path, ctx.label.package))
        stem = stem[len(package):]
        sources.append(ctx.actions.declare_file(stem + ".grpc.pb.cc"))
        headers.append(ctx.actions.declare_file(stem + ".grpc.pb.h"))
        if ctx.attr.generate_mocks:
            headers.append(ctx.actions.declare_file(stem + "_mock.grpc.pb.h"))
        arguments.add(path)
    ctx.actions.run(
        executable = ctx.executable._protoc,
        arguments = [arguments],
        inputs = proto.transitive_sources,
        tools = [ctx.executable._plugin],
        outputs = sources + headers,
        mnemonic = "CcGrpc",
        progress_message = "Generating C++ gRPC code of %s" % ctx.attr.proto.label,
    )
    return [
        DefaultInfo(files = depset(sources + headers)),
        OutputGroupInfo(sources = depset(sources), headers = depset(headers)),
    ]

_generate = rule(
    implementation = _generate_impl,
    attrs = {
        "proto": attr.label(mandatory = True, providers = [ProtoInfo]),
        "generate_mocks": attr.bool(),
        "_protoc": attr.label(
            default = "@com_google_protobuf//:protoc",
            allow_single_file = True,
            executable = True,
            cfg = "exec",
        ),
        "_plugin": attr.label(
            default = "@com_github_grpc_grpc//src/compiler:grpc_cpp_plugin",
            allow_single_file = True,
            executable = True,
            cfg = "exec",
        ),
    },
)

def cc_grpc_library(name, srcs, deps, grpc_only = False, generate_mocks = False, **kwargs):
    """A cc_library with the stubs and services of a proto_library.

    Args:
      name: of the library.
      srcs: one proto_library, in the same package.
      deps: the cc_proto_library of its messages.
      grpc_only: must be True; upstream's older form, which makes the messages too, is not
          here.
      generate_mocks: whether <file>_mock.grpc.pb.h is made as well.
      **kwargs: as of a cc_library.
    """
    if len(srcs) != 1:
        fail("srcs: one proto_library, not %d" % len(srcs))
    if not grpc_only:
        fail("grpc_only = True is needed, with a cc_proto_library in deps")
    generated = "_" + name + "_codegen"
    _generate(name = generated, proto = srcs[0], generate_mocks = generate_mocks)
    for group in ["sources", "headers"]:
        native.filegroup(
            name = generated + "_" + group,
            srcs = [":" + generated],
            output_group = group,
        )
    cc_library(
        name = name,
        srcs = [":" + generated + "_sources"],
        hdrs = [":" + generated + "_headers"],
        deps = deps + ["@com_github_grpc_grpc//:grpc++_codegen_proto"],
        **kwargs
    )
