"""The command line, as `python -m tlkit` and as the command `tlkit`."""

import gc
import sys


def main() -> int:
    """Run the command and return its exit code, also after Ctrl-C while packages are imported."""
    try:
        from tlkit.cli import collecting
        from tlkit.cli.app import main as run

        with collecting.pause_for_imports():
            return run()
    except KeyboardInterrupt:
        sys.stderr.write("tlkit: interrupted\n")
        return 130
    except ModuleNotFoundError as error:  # tlkit was installed without its requirements
        package = (error.name or "tlkit").split(".")[0]
        if package == "tlkit":
            raise
        sys.stderr.write(
            f"tlkit: the command needs the package {package!r}, which is not installed. "
            "Install tlkit with its requirements (pip install without --no-deps). Without them, "
            "tlkit.deployment.Predictor predicts in Python with an exported file.\n"
        )
        return 2
    finally:
        gc.freeze()  # otherwise the end of the process would go through all objects once more


if __name__ == "__main__":
    sys.exit(main())
