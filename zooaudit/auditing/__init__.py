"""The whole audit, step by step: ``pipeline.py`` tells it in a page."""
