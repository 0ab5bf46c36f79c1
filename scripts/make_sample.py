"""Draw the sample of MNIST that comes with minidl.

    python scripts/make_sample.py --source DIR [--seed 0] [--output minidl/data/sample]

A tenth of the whole, 6,000 of 60,000 training and 1,000 of 10,000 test images, is drawn by
`minidl.data.split`: every class keeps the share it has in the whole (proportional, by largest
remainders), the images keep their order. The seed of the sample that is checked in is 0.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

from minidl.data import MNIST, ArrayDataset, split, write_idx
from minidl.data.mnist import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS

SEED = 0
FRACTION = 0.1
OUTPUT = Path(__file__).resolve().parents[1] / "minidl" / "data" / "sample"

NOTICE = """\
# The sample of MNIST in this directory

These files are a part of the **MNIST database of handwritten digits** by **Yann LeCun** and
**Corinna Cortes**, licensed under the
[Creative Commons Attribution-ShareAlike 3.0](https://creativecommons.org/licenses/by-sa/3.0/)
licence (CC BY-SA 3.0). They stay under that licence; minidl's own licence does not apply to them.

**What was changed.** Of the 60,000 training images {train} were kept, and of the 10,000 test images
{test}, with their labels; the files were compressed anew. No pixel and no label was altered.

**How they were drawn.** By `scripts/make_sample.py --source DIR --seed {seed}`: at random, with
seed {seed}, from each class its proportional share of the whole (stratified, largest remainders),
in the order of the whole.

| digit | {digits} |
| --- | {rule} |
| training | {train_counts} |
| test | {test_counts} |

| file | SHA-256 |
| --- | --- |
{checksums}
"""


def draw(source: Path, *, seed: int) -> tuple[ArrayDataset, ArrayDataset]:
    """Training and test part of the sample, from the whole database in ``source``."""
    whole = MNIST(source)
    _, train = split(whole.train, fraction=FRACTION, seed=seed)
    _, test = split(whole.test, fraction=FRACTION, seed=seed)
    return train, test


def write(train: ArrayDataset, test: ArrayDataset, *, seed: int, output: Path) -> None:
    """The four files, and the notice that says what they are."""
    output.mkdir(parents=True, exist_ok=True)
    files = {
        TRAIN_IMAGES: train.inputs[:, 0],
        TRAIN_LABELS: train.targets.astype("uint8"),
        TEST_IMAGES: test.inputs[:, 0],
        TEST_LABELS: test.targets.astype("uint8"),
    }
    checksums = []
    for name, array in files.items():
        path = output / f"{name}.gz"
        write_idx(path, array)
        checksums.append(f"| `{path.name}` | `{hashlib.sha256(path.read_bytes()).hexdigest()}` |")
    notice = NOTICE.format(
        train=f"{len(train):,}",
        test=f"{len(test):,}",
        seed=seed,
        digits=" | ".join(train.classes),
        rule=" | ".join("---" for _ in train.classes),
        train_counts=_counts(train),
        test_counts=_counts(test),
        checksums="\n".join(checksums),
    )
    (output / "NOTICE.md").write_text(notice, encoding="utf-8")


def _counts(dataset: ArrayDataset) -> str:
    labels = dataset.targets.tolist()
    return " | ".join(str(labels.count(digit)) for digit in range(len(dataset.classes)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draw the sample of MNIST that comes with minidl.")
    parser.add_argument("--source", type=Path, required=True, help="directory of the whole MNIST")
    parser.add_argument("--seed", type=int, default=SEED, help="decides the draw (%(default)s)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="directory to write into")
    options = parser.parse_args(arguments)
    train, test = draw(options.source, seed=options.seed)
    write(train, test, seed=options.seed, output=options.output)
    print(f"{len(train)} training and {len(test)} test images in {options.output}")


if __name__ == "__main__":
    main()
