"""The training service: a queue of jobs that survives being killed.

In the order in which a job passes through: ``submission`` checks what a user sent, ``store`` keeps
it in a database, ``scheduler`` starts its attempts through an executor (``executors``) and decides
with ``policy`` what follows when one ends, ``api`` and ``page`` show it. ``states`` says which
states there are and what may follow what, ``records`` what a job, an attempt and an event are,
``settings`` what the service was told and where its files lie.
"""
