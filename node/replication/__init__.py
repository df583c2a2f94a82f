"""Holding other agents' logs whole: catching up with them, following them, and feeding those who follow."""
