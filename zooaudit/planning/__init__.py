"""What an audit will take; and recipes for a user's own task."""
