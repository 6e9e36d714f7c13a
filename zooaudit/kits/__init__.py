"""Kits: all that is needed to judge suspects of one victim, in a store."""
