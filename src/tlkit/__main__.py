"""The command line, as `python -m tlkit` and as the command `tlkit`."""

import sys


def main() -> int:
    """Run the command, and return its exit code; Ctrl-C ends it while it imports packages too."""
    try:
        from tlkit.cli.app import main as run

        return run()
    except KeyboardInterrupt:
        sys.stderr.write("tlkit: interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
