"""Recipes: the named ones, those in files, and what differs between two."""
