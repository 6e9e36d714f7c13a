"""The service: scores and audits over HTTP, on Ray Serve or in one process, and its console."""
