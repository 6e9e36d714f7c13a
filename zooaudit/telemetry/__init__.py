"""What is counted and timed, and what a run says of its phases."""
