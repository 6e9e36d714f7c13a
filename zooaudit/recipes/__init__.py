"""Recipes: the named ones, those in files, and the differences of two."""
