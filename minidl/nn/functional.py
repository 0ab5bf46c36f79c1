"""Layers and losses as functions: everything a module computes, without its parameters.

The functions stand in `minidl.ops`, one family a file; this is the list of them.
"""

from minidl.ops import log_softmax, relu, sigmoid, softmax, tanh
from minidl.ops.activation import *  # noqa: F403
from minidl.ops.activation import __all__ as _activation
from minidl.ops.adaptive_pool import *  # noqa: F403
from minidl.ops.adaptive_pool import __all__ as _adaptive_pool
from minidl.ops.attention import *  # noqa: F403
from minidl.ops.attention import __all__ as _attention
from minidl.ops.conv import *  # noqa: F403
from minidl.ops.conv import __all__ as _conv
from minidl.ops.cross_entropy import *  # noqa: F403
from minidl.ops.cross_entropy import __all__ as _cross_entropy
from minidl.ops.ctc import *  # noqa: F403
from minidl.ops.ctc import __all__ as _ctc
from minidl.ops.distance import *  # noqa: F403
from minidl.ops.distance import __all__ as _distance
from minidl.ops.embedding import *  # noqa: F403
from minidl.ops.embedding import __all__ as _embedding
from minidl.ops.image import *  # noqa: F403
from minidl.ops.image import __all__ as _image
from minidl.ops.imbalance import *  # noqa: F403
from minidl.ops.imbalance import __all__ as _imbalance
from minidl.ops.loss import *  # noqa: F403
from minidl.ops.loss import __all__ as _loss
from minidl.ops.normalization import *  # noqa: F403
from minidl.ops.normalization import __all__ as _normalization
from minidl.ops.padding import *  # noqa: F403
from minidl.ops.padding import __all__ as _padding
from minidl.ops.pool import *  # noqa: F403
from minidl.ops.pool import __all__ as _pool
from minidl.ops.products import linear
from minidl.ops.random import *  # noqa: F403
from minidl.ops.random import __all__ as _random
from minidl.ops.ranking import *  # noqa: F403
from minidl.ops.ranking import __all__ as _ranking
from minidl.ops.transposed import *  # noqa: F403
from minidl.ops.transposed import __all__ as _transposed
from minidl.ops.windows import *  # noqa: F403
from minidl.ops.windows import __all__ as _windows

__all__ = [  # noqa: PLE0604
    "linear",
    "log_softmax",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
    *_activation,
    *_attention,
    *_conv,
    *_cross_entropy,
    *_ctc,
    *_ranking,
    *_distance,
    *_embedding,
    *_image,
    *_imbalance,
    *_loss,
    *_normalization,
    *_padding,
    *_adaptive_pool,
    *_transposed,
    *_pool,
    *_random,
    *_windows,
]
