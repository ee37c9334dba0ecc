"""`python -m pfs_ingestd` is `pfs-ingestd`."""

from pfs_ingestd.cli import main

main()
