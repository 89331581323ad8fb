"""The table that predict, sizes and report pass on."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pcs_detect.crystals.tables import COLUMNS, crystal_table, read_table, write_table
from pcs_detect.errors import DataError, InputError

side = st.floats(1, 500)


@st.composite
def found(draw):
    n = draw(st.integers(0, 6))
    sides = np.sort(draw(hnp.arrays(float, (n, 2), elements=side)), axis=1)[:, ::-1]
    place = draw(hnp.arrays(float, (n, 2), elements=st.floats(-10, 3000)))
    theta = draw(hnp.arrays(float, (n, 1), elements=st.floats(-np.pi / 2, np.pi / 2, exclude_max=True)))
    scores = draw(hnp.arrays(float, n, elements=st.floats(0, 1)))
    return np.hstack([place, sides, theta]), scores, draw(hnp.arrays(bool, n))


@given(found(), st.none() | st.floats(0.01, 100))
def test_rows_say_what_was_found(detections, scale):
    boxes, scores, at_border = detections
    table = crystal_table("drop.tif", boxes, scores, at_border, scale)
    assert tuple(table.columns) == COLUMNS
    assert (np.diff(table.score) <= 0).all()
    assert list(table.crystal) == list(range(1, len(boxes) + 1))
    order = np.argsort(-scores, kind="stable")
    np.testing.assert_array_equal(table[["x_px", "y_px", "width_px", "height_px"]], boxes[order, :4])
    np.testing.assert_allclose(np.radians(table.angle_deg), boxes[order, 4], atol=1e-12)
    assert list(table.at_border) == list(at_border[order])
    assert (table.aspect_ratio >= 1).all()
    if scale is None:
        assert table[["width_um", "height_um", "area_um2"]].isna().all(axis=None)
    else:
        np.testing.assert_allclose(table.width_um * table.height_um, table.area_um2)
        np.testing.assert_allclose(table.area_um2 / scale**2, table.area_px)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("count", [0, 3])
def test_tables_come_back_as_they_were_written(tmp_path, suffix, count):
    boxes = np.array([[10.0, 20, 8, 4, 0.5]] * count).reshape(-1, 5)
    table = crystal_table("a, b.tif", boxes, np.linspace(1, 0.5, count), np.arange(count) == 1, 0.5)
    write_table(table, path := tmp_path / "new" / f"crystals{suffix}")
    back = read_table(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    pd.testing.assert_frame_equal(back, table, check_dtype=False, rtol=1e-5)


def test_other_files_are_refused_with_the_reason(tmp_path):
    with pytest.raises(InputError, match=r"\.csv or \.parquet"):
        write_table(pd.DataFrame(), tmp_path / "crystals.xlsx")
    with pytest.raises(DataError, match=r"none\.csv"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("image,width\na,1\n")
    with pytest.raises(DataError, match=r"lacks the columns score, at_border; it has image, width"):
        read_table(tmp_path / "other.csv", ("image", "score", "at_border"))
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    for name in ("empty.csv", "bad.parquet"):
        with pytest.raises(DataError, match="cannot be read"):
            read_table(tmp_path / name)
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="micrometres per pixel"):
            crystal_table("a", np.zeros((0, 5)), [], [], wrong)
