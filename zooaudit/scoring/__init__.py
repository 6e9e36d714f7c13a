"""From a suspect, or its answers, to a decision: used by the command line, the Python API, the service and
its audits."""
