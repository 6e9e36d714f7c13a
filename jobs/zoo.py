"""``python -m zooaudit.jobs.zoo``, which says more, for those who submit the repository as
their working directory."""

from zooaudit.jobs.entry import run

if __name__ == "__main__":
    run("zoo")
