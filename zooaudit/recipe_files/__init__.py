"""Recipes in TOML files: what fields there are, reading, changing single fields, writing, and what differs between two recipes."""
