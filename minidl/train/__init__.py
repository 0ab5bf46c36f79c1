"""From a YAML config to a reproducible, tracked run.

`config` reads and checks, `build` makes the objects that a config names, `trainer` trains them,
`run_directory` says which file lies where, `checkpoint` writes them whole, `journal` and
`tracking` record, `inference` uses what was trained.
"""
