import numba
import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError, jaxtyped

from tests.typecheck import check
from tomoseg.language.words import pointed
from tomoseg.masks import pack


def test_a_wrong_array_is_refused():
    with pytest.raises(TypeCheckError, match="masks"):
        pack(np.zeros((3, 1), np.uint8))


def test_a_wrong_value_is_refused_where_no_array_is_annotated():
    with pytest.raises(TypeCheckError, match="number"):
        pointed(1.5, "fr")


def test_numba_compiles_the_function_under_the_check():
    @numba.njit
    @jaxtyped(typechecker=check)
    def doubled(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return values * 2

    @numba.njit(nogil=True)
    @jaxtyped(typechecker=check)
    def doubled_twice(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return doubled(doubled(values))

    assert doubled_twice(np.array([1.0, 2.5])).tolist() == [4.0, 10.0]
