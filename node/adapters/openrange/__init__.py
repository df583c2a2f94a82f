"""OpenRange snapshots: JSON files with single-parent lineages, and such with several parents, as artifacts."""
