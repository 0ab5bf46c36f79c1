"""Data: from files to batches.

`ArrayDataset` holds a dataset in memory; `split` holds out a part of it, class by class;
`DataLoader` makes batches, in an order that is a function of ``(seed, epoch)``. `MNIST` reads the
database of handwritten digits from its four files, `fetch` downloads them, and `MNISTSample` is a
tenth of it that comes with minidl. `read_idx` and `write_idx` speak the database's file format,
`read_image` reads a single picture for prediction, and `normalize` treats it as the loader treats
its batches.

Only NumPy is needed; torchvision and Pillow are imported where `fetch` and `read_image` use them.
"""

from minidl.data.dataset import ArrayDataset, split
from minidl.data.fetch import fetch
from minidl.data.idx import read_idx, write_idx
from minidl.data.images import read_image
from minidl.data.loader import DataLoader, normalize
from minidl.data.mnist import MNIST, MNISTSample

__all__ = [
    "MNIST",
    "ArrayDataset",
    "DataLoader",
    "MNISTSample",
    "fetch",
    "normalize",
    "read_idx",
    "read_image",
    "split",
    "write_idx",
]
