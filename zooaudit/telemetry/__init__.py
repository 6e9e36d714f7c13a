"""What is counted and timed, and how a run reports its phases."""
