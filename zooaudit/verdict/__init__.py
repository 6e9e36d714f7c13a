"""The twin test: the victim ranked among its twins by how like a suspect each one is."""
