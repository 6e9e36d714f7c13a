"""The whole audit, step by step: ``pipeline.py`` shows it on one page."""
