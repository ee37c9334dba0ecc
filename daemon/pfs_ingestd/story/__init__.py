"""The whole story of a file or a visit: what is known of it, and how that is told."""
