"""What is shown of runs: plots and sheets of pictures."""
