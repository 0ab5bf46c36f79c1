"""``python -m minidl``: the command where it is not on the path."""

from minidl.cli import main

main()
