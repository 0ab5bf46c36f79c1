"""Sweeps: many runs of one config, with other values in each, on an Optuna study.

In the order in which a sweep goes: ``dimensions`` reads what is varied, ``plan`` puts together what
is to be done and checks it, ``study`` keeps the trials in Optuna's storage and hands them out,
``trial`` runs each in a process of its own, ``worker`` is the loop around these, and ``results``
writes what was found.
"""
