"""The twin test: ranks the victim among its twins by how much of each is in a suspect."""
