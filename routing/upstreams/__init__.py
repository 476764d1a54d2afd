"""Vendors' wire formats, one folder each: see base.py."""
