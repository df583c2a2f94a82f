"""Zero-knowledge proofs that one policy is no wider than another; pure, so randomness is handed in.

Normative text: docs/spec/narrowing.md.

`rbcl` takes a quarter of a second to load, so only what meets a confidential policy imports this package.
"""
