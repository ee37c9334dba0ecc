"""What pfs-ingestd is measured by: each module is a command, `python -m benchmarks` runs them all."""
