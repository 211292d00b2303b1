"""What guidelines say about measured nodules: plain values in, statements out.

Nothing here knows scans or networks, and nothing needs more than the standard library.
"""
