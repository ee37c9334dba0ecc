"""The outside world: each module touches one thing."""
