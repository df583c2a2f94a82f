"""Measures tslg against what it rests on, in one run and on one machine, so that the ratios travel: `tslg bench`."""
