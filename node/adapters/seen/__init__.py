"""Steps that were seen when they were over, in traces and transcripts, and the lineage that they make."""
