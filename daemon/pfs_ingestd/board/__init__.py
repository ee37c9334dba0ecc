"""The night board: what became of each visit of a night, for people."""
