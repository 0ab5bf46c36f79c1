"""What `two_hosts.py` and `scaling.py` are made of: hosts, what runs on them, tables."""
