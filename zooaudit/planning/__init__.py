"""What an audit will take, before it begins; and recipes for an owner's own task."""
