"""The command line, as `python -m tlkit` and as the command `tlkit`."""

import gc
import sys


# Importing Keras and TensorFlow makes some million objects that stay. The garbage collector would
# go through them again and again, and once more when the process ends, for 1.5 seconds in all.
def main() -> int:
    """Run the command, and return its exit code; Ctrl-C ends it while it imports packages too."""
    gc.disable()
    try:
        from tlkit.cli import collecting
        from tlkit.cli.app import main as run

        with collecting.after_imports():
            return run()
    except KeyboardInterrupt:
        sys.stderr.write("tlkit: interrupted\n")
        return 130
    finally:
        gc.freeze()
        gc.enable()


if __name__ == "__main__":
    sys.exit(main())
