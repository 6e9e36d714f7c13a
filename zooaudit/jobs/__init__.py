"""Subcommands as Ray jobs: ``ray job submit ... -- python -m zooaudit.jobs.audit ...``."""
