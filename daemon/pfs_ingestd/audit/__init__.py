"""The audit: disk, inbox, registry and datastore held against each other."""
