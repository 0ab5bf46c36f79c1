"""The systems that are measured, one file each, and what they share.

Everything here runs in the virtual environment of one system, so it imports NumPy, that system, and
nothing else; a peer's file is imported by `peers.worker` alone.
"""
