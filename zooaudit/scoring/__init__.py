"""From a suspect, or its answers, to a decision: the one way, for the command line, the Python API, the
service and its audits."""
