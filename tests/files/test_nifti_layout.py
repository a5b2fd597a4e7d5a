import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel import nifti1, nifti2
from nibabel.quaternions import mat2quat, quat2mat

from tomoseg.files.nifti_layout import NIFTI1, NIFTI2, quaternion_of, rotation_of

HALF = np.sqrt(0.5)


@pytest.mark.parametrize(("layout", "known"), [(NIFTI1, nifti1.header_dtype), (NIFTI2, nifti2.header_dtype)])
def test_every_field_lies_where_nibabel_has_it(layout, known):
    assert layout.itemsize == known.itemsize
    assert {name: layout.fields[name][:2] for name in layout.names} == {
        name: known.fields[name][:2] for name in layout.names
    }


def test_a_quarter_turn_about_z():
    turn = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    np.testing.assert_allclose(rotation_of(np.array([HALF, 0, 0, HALF])), turn, atol=1e-15)
    np.testing.assert_allclose(quaternion_of(np.array(turn, float)), [HALF, 0, 0, HALF], atol=1e-15)


@given(st.lists(st.floats(-10, 10), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 1e-3))
def test_quaternions_are_those_of_nibabel(numbers):
    quaternion = np.array(numbers)
    rotation = rotation_of(quaternion)
    np.testing.assert_array_equal(rotation, quat2mat(quaternion))
    back = mat2quat(rotation)
    np.testing.assert_array_equal(quaternion_of(rotation), -back if back[0] < 0 else back)


def test_reading_a_scan_loads_no_heavy_library():
    unwanted = "{'nibabel', 'pydicom', 'scipy', 'torch', 'matplotlib'} & set(sys.modules)"
    code = f"import sys, tomoseg.files.nifti, tomoseg.checks.scan, tomoseg.grid; sys.exit({unwanted} or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")
