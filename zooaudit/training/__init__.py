"""What trains the models: this process, or Ray workers that draw from one queue."""
