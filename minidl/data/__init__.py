"""Data: from files to batches.

A dataset is anything with ``len()`` and ``dataset[i]``. `ArrayDataset` holds one in memory;
`TensorDataset`, `Subset`, `ConcatDataset`, `random_split`, `k_fold` make others of it; `split`
holds out a part, class by class. `DataLoader` makes batches, in an order that is a function of
``(seed, epoch)``, changed by `minidl.data.augment`, ahead of time in a thread if wanted.

`MNIST` and its kin read files on disk, `fetch` downloads them, and `MNISTSample` is a tenth of
MNIST that comes with minidl. `read_idx` and `write_idx` speak that database's file format,
`read_image` and `decode_image` read a single picture for prediction, and `normalize` treats it as
the loader treats its batches.

Only NumPy is needed; torchvision and Pillow are imported where they are used.
"""

from minidl.data import augment
from minidl.data.cifar import CIFAR10, CIFAR100
from minidl.data.dataset import ArrayDataset, split
from minidl.data.fetch import fetch
from minidl.data.idx import read_idx, write_idx
from minidl.data.images import decode_image, read_image
from minidl.data.loader import DataLoader, collate, normalize
from minidl.data.mnist import MNIST, MNISTSample
from minidl.data.own import CSV, NPZ, ImageFolder
from minidl.data.readers import DatasetFiles
from minidl.data.samplers import (
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    WeightedRandomSampler,
)
from minidl.data.subsets import (
    ConcatDataset,
    Dataset,
    Subset,
    TensorDataset,
    class_weights,
    k_fold,
    oversample,
    random_split,
)
from minidl.data.vision import EMNIST, KMNIST, USPS, FashionMNIST

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "CSV",
    "EMNIST",
    "KMNIST",
    "MNIST",
    "NPZ",
    "USPS",
    "ArrayDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DatasetFiles",
    "DistributedSampler",
    "FashionMNIST",
    "ImageFolder",
    "MNISTSample",
    "RandomSampler",
    "SequentialSampler",
    "Subset",
    "TensorDataset",
    "WeightedRandomSampler",
    "augment",
    "class_weights",
    "collate",
    "decode_image",
    "fetch",
    "k_fold",
    "normalize",
    "oversample",
    "random_split",
    "read_idx",
    "read_image",
    "split",
    "write_idx",
]
