"""`python -m voc_builder check SRC` and `python -m voc_builder build SRC OUT`."""

from __future__ import annotations

import sys

from voc_builder.command import run


def main(argv: list[str] | None = None) -> int:
    """Exit code of the subcommand that the first argument names."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    prog = "python -m voc_builder"
    if name == "check":
        from voc_builder.report import CheckConfig, check_command

        return run(check_command, CheckConfig, f"{prog} check", rest)
    if name == "build":
        from voc_builder.build import BuildConfig, build_command

        return run(build_command, BuildConfig, f"{prog} build", rest)
    print(f"{prog}: error: name one of check and build. Received: {name!r}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
