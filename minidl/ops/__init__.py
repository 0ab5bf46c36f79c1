"""What can be differentiated: one record an operation, by family.

To add an operation, find its family, write its record (value, vjp rules, jvp rules, batching rule),
name it in the family's ``__all__`` and give it an entry in the table of the same name in
``tests/optable``; the suite fails for a public function without one.

The families below are public as ``minidl.*``. Those of neural networks are public in
`minidl.nn.functional`; `minidl.linalg`, `minidl.fft` and `minidl.special` have namespaces too.
"""

from minidl.ops.algebra import *  # noqa: F403
from minidl.ops.algebra import __all__ as _algebra
from minidl.ops.arithmetic import *  # noqa: F403
from minidl.ops.arithmetic import __all__ as _arithmetic
from minidl.ops.complexes import *  # noqa: F403
from minidl.ops.complexes import __all__ as _complexes
from minidl.ops.decompositions import *  # noqa: F403
from minidl.ops.decompositions import __all__ as _decompositions
from minidl.ops.diagonals import *  # noqa: F403
from minidl.ops.diagonals import __all__ as _diagonals
from minidl.ops.einsum import *  # noqa: F403
from minidl.ops.einsum import __all__ as _einsum
from minidl.ops.elementwise import *  # noqa: F403
from minidl.ops.elementwise import __all__ as _elementwise
from minidl.ops.indexing import *  # noqa: F403
from minidl.ops.indexing import __all__ as _indexing
from minidl.ops.joining import *  # noqa: F403
from minidl.ops.joining import __all__ as _joining
from minidl.ops.lengths import *  # noqa: F403
from minidl.ops.lengths import __all__ as _lengths
from minidl.ops.logarithms import *  # noqa: F403
from minidl.ops.logarithms import __all__ as _logarithms
from minidl.ops.ordering import *  # noqa: F403
from minidl.ops.ordering import __all__ as _ordering
from minidl.ops.products import *  # noqa: F403
from minidl.ops.products import __all__ as _products
from minidl.ops.rearrange import *  # noqa: F403
from minidl.ops.rearrange import __all__ as _rearrange
from minidl.ops.reduce import *  # noqa: F403
from minidl.ops.reduce import __all__ as _reduce
from minidl.ops.rounding import *  # noqa: F403
from minidl.ops.rounding import __all__ as _rounding
from minidl.ops.scan import *  # noqa: F403
from minidl.ops.scan import __all__ as _scan
from minidl.ops.scatter import *  # noqa: F403
from minidl.ops.scatter import __all__ as _scatter
from minidl.ops.shape import *  # noqa: F403
from minidl.ops.shape import __all__ as _shape
from minidl.ops.softmax import *  # noqa: F403
from minidl.ops.softmax import __all__ as _softmax
from minidl.ops.solvers import *  # noqa: F403
from minidl.ops.solvers import __all__ as _solvers
from minidl.ops.special import *  # noqa: F403
from minidl.ops.special import __all__ as _special
from minidl.ops.statistics import *  # noqa: F403
from minidl.ops.statistics import __all__ as _statistics
from minidl.ops.truth import *  # noqa: F403
from minidl.ops.truth import __all__ as _truth

__all__ = [  # noqa: PLE0604
    *_arithmetic,
    *_elementwise,
    *_lengths,
    *_rounding,
    *_truth,
    *_logarithms,
    *_special,
    *_complexes,
    *_diagonals,
    *_reduce,
    *_scan,
    *_ordering,
    *_statistics,
    *_shape,
    *_joining,
    *_rearrange,
    *_indexing,
    *_scatter,
    *_products,
    *_algebra,
    *_einsum,
    *_decompositions,
    *_solvers,
    *_softmax,
]
