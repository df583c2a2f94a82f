"""Adapters: other formats read into records, one package a format."""
