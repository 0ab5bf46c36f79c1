"""What `scripts/bench/run.py` is made of: environments, pipes to the peers, rounds, tables."""
