"""What all jobs share: begin inside Ray, with zooaudit's packages there, or say on one line
what is missing."""

import os
import sys
import traceback
from datetime import UTC, datetime

BAD_INPUT = 2


def run(subcommand: str) -> None:
    """Run a subcommand of ``zooaudit`` with this program's arguments and a log of events,
    and exit with its code."""
    if not os.environ.get("RAY_ADDRESS"):
        give_up(
            "this is not a Ray job; start it with: ray job submit --address URL -- python -m"
            f" zooaudit.jobs.{subcommand} ..."
        )
    try:
        import zooaudit.storage.s3
        import zooaudit.training.ray_farm  # noqa: F401  both are loaded late otherwise
        from zooaudit.cli.main import main
    except ImportError as error:
        give_up(
            f"{error} for {sys.executable} on the cluster; install what jobs need on every node: pip install"
            " 'zooaudit[cluster]', or in the repository pip install -c constraints.txt '.[cluster]'"
        )
    try:
        code = main([subcommand, "--log", "events", *sys.argv[1:]])
    except SystemExit as ended:  # argparse has said above what it does not like, or shown its help
        code = int(ended.code or 0)
        if code:
            say(code, "options that cannot be used; see above")
    except Exception:  # noqa: BLE001  shown in full, and then as the last line that every job has
        traceback.print_exc()
        code = 1
        say(code, "an error that zooaudit did not foresee; see above")
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(
        code
        # all is said and stored; what Ray and torch do at a usual exit takes longer than the 3
        # s that `ray job stop` grants
    )


def give_up(why: str) -> None:
    """End with one line, made without what may be missing."""
    say(BAD_INPUT, why)
    sys.exit(BAD_INPUT)


def say(code: int, why: str) -> None:
    """The last line of a job that failed."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    print(f'{now} event=error code={code} message="{why}"', file=sys.stderr, flush=True)
