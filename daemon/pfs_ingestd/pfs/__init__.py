"""What is PFS: file names, header rules, the raw and pfsConfig datasets, the seed of a repository."""
