"""Artifacts: packages of files, what they were made of, what is said of them, and what becomes of them."""
