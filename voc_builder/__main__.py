"""`python -m voc_builder check SRC` and `python -m voc_builder build SRC OUT`."""

from __future__ import annotations

import sys

from voc_builder.base.command import run

PROG = "python -m voc_builder"
USAGE = f"""\
usage: {PROG} check SRC        report all problems of the annotations
       {PROG} build SRC OUT    write a VOC tree and TFRecords
Run either command with --help for its options.
"""


def main(argv: list[str] | None = None) -> int:
    """Exit code of the subcommand that the first argument names."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if name == "check":
        from voc_builder.check import CheckConfig, check_command

        return run(check_command, CheckConfig, f"{PROG} check", rest)
    if name == "build":
        from voc_builder.build import BuildConfig, build_command

        return run(build_command, BuildConfig, f"{PROG} build", rest)
    if name in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    given = f"Received: {name}" if name else "Received nothing"
    print(f"{PROG}: error: give `check SRC` or `build SRC OUT`. {given}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
