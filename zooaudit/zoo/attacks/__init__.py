"""What thieves do to a victim that they can only ask."""
