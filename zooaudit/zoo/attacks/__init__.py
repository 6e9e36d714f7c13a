"""Attacks by thieves who can only query the victim."""
