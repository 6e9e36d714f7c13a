"""Who trains the models: this process, or workers of Ray that draw from one queue."""
