"""Executors: where attempts run. ``executor`` says what one does; ``local`` is this machine."""
