"""Apply guidelines to measured nodules: plain values in, statements out.

Nothing here uses scans or networks, or anything beyond the standard library.
"""
