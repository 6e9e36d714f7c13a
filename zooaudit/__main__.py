"""``python -m zooaudit`` and ``zooaudit``: the command line, which Ctrl-C ends with one
line whatever is being imported."""

import sys


def run() -> int:
    """The exit code."""
    try:
        from zooaudit.cli.main import main

        return main()
    except KeyboardInterrupt:  # outside of what the command line itself looks after
        print("zooaudit: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
