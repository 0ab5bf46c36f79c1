"""Linear algebra beyond the table: what reconstructs what, constants, singular matrices."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl import linalg

X = np.random.default_rng(0).standard_normal((4, 3))


def test_full_factors_reconstruct_and_are_constants() -> None:
    q, r = minidl.qr(X, "complete")
    assert q.shape == (4, 4)
    np.testing.assert_allclose(q @ r, X, atol=1e-12)
    u, s, vh = linalg.svd(X)
    assert (u.shape, vh.shape) == ((4, 4), (3, 3))
    np.testing.assert_allclose(u[:, :3] * s @ vh, X, atol=1e-12)
    assert minidl.qr(X, "r").Q is None
    x = minidl.Tensor(X, requires_grad=True)
    assert not linalg.svd(x).U.requires_grad
    assert minidl.svd(x).U.requires_grad


def test_least_squares_tells_what_is_left() -> None:
    b = np.arange(8.0).reshape(4, 2)
    found = linalg.lstsq(X, b)
    wanted = np.linalg.lstsq(X, b, rcond=None)
    np.testing.assert_allclose(found.solution, wanted[0], rtol=1e-9)
    np.testing.assert_allclose(found.residuals, wanted[1], rtol=1e-9)
    assert found.rank == wanted[2]
    np.testing.assert_allclose(found.singular_values, wanted[3])
    with pytest.raises(ValueError, match=r"lstsq: matrices \(4, 3\) do not fit .* \(3, 2\)"):
        linalg.lstsq(X, b[:3])


def test_the_derivative_of_a_singular_determinant_is_its_cofactors() -> None:
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    np.testing.assert_allclose(
        minidl.grad(minidl.det)(singular), [[4.0, -2.0], [-2.0, 1.0]], atol=1e-12
    )


def test_matrices_that_do_not_fit_their_name() -> None:
    with pytest.raises(ValueError, match=r"cholesky.*not positive definite"):
        minidl.cholesky(-np.eye(2))
    with pytest.raises(ValueError, match=r"inv.*Singular"):
        linalg.inv(np.ones((2, 2)))
    with pytest.raises(ValueError, match="square matrices"):
        linalg.eigh(X)
