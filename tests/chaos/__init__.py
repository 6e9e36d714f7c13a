"""Tests that kill processes and fill disks."""
