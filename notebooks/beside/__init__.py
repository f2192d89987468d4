"""What serves a chapter beside it: the doctor of a file, baselines for counts, some panels."""
