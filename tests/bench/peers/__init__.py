"""The systems that compare.py compares, one file each."""
