"""How //docs:reference is made."""

def _reference_impl(ctx):
    out = ctx.actions.declare_directory(ctx.label.name)
    arguments = ctx.actions.args()
    arguments.add(ctx.file.script)
    arguments.add(ctx.file.doxyfile)
    arguments.add(ctx.file.filter)
    arguments.add(out.path)
    arguments.add_all(ctx.files.headers)
    ctx.actions.run(
        executable = "/usr/bin/python3",
        arguments = [arguments],
        inputs = ctx.files.headers + [ctx.file.script, ctx.file.doxyfile, ctx.file.filter],
        outputs = [out],
        mnemonic = "Doxygen",
        progress_message = "Making the reference from the headers",
        use_default_shell_env = True,
    )
    return [DefaultInfo(files = depset([out]), runfiles = ctx.runfiles([out]))]

doxygen_reference = rule(
    implementation = _reference_impl,
    doc = "A folder with the HTML that Doxygen makes of headers; a warning is an error.",
    attrs = {
        "headers": attr.label_list(allow_files = [".h"]),
        "script": attr.label(allow_single_file = True, mandatory = True),
        "doxyfile": attr.label(allow_single_file = True, mandatory = True),
        "filter": attr.label(allow_single_file = True, mandatory = True),
    },
)
