"""A worker that trains nothing: takes trial after trial of a study, and ends each at once.

Run as ``python claim_all.py CONFIG STORAGE TRIALS``; prints the slots that it was given, as JSON.
"""

from __future__ import annotations

import json
import sys

from minidl.sweep.plan import make_plan
from minidl.sweep.study import SweepStudy


def main(config: str, storage: str, trials: str) -> None:
    study = SweepStudy(make_plan(config, storage=storage, trials=int(trials)))
    given = []
    while claim := study.claim():
        given.append((claim.number, claim.trial.user_attrs["slot"], claim.parameters))
        study.complete(claim, float(claim.number))
    study.close()
    print(json.dumps(given))


if __name__ == "__main__":
    main(*sys.argv[1:])
