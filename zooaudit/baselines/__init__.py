"""Other methods behind one small interface: questions that follow from the victim, a score
that follows from the answers."""
