"""Exports: records written in formats that auditors' own tools read, one module a format.

Normative text: docs/spec/exports.md. What is chosen stands in `choosing`, what was verified of it in `standing`.
"""
