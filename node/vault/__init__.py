"""The vault: plaintexts of models' steps, encrypted for one agent each, and destroyed by destroying their keys.

Normative text: docs/spec/recording.md.
"""
