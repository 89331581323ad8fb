"""Files that hold more than one picture, and what files say about scale and time. What a TIFF holds first is not always its
photograph."""

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pcs_detect.errors import DataError, InputError
from pcs_detect.photographs import frames_of, grey_values, read_levels, read_photograph, tiff

GREY = np.random.default_rng(0).integers(0, 256, (80, 60)).astype(np.uint8)
STACK = np.stack([GREY + k for k in range(5)])


def test_a_page_that_is_a_smaller_version_is_passed_over_wherever_it_stands(tmp_path):
    for name, pages in {
        "reduced first": [(GREY[::4, ::4], {"subfiletype": 1}), (GREY, {})],
        "unmarked first": [(GREY[::4, ::4], {}), (GREY, {})],
        "reduced last": [(GREY, {}), (GREY[::2, ::2], {"subfiletype": 1})],
        "reduced of the same size": [(GREY // 2, {"subfiletype": 1}), (GREY, {})],
        "whole inside a small one": [(GREY[::4, ::4], {"subfiletype": 1, "subifds": 1}), (GREY, {})],  # as cameras' raw files
    }.items():
        path = tmp_path / f"{name}.tif"
        with tifffile.TiffWriter(path) as file:
            for pixels, options in pages:
                file.write(pixels, metadata=None, **options)
        assert len(frames_of(path)) == 1, name
        np.testing.assert_array_equal(read_photograph(path), GREY, err_msg=name)


def test_an_overview_and_a_stack_are_the_pictures_of_the_stack(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for pixels in (GREY[::4, ::4], *STACK[:3]):
            file.write(pixels, metadata=None)
    assert [f.ending for f in frames_of(tmp_path / "a.tif")] == ["#0001", "#0002", "#0003"]
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.tif#0003"), STACK[2])


@pytest.mark.parametrize("options", [{}, {"ome": True}])
def test_pages_of_other_sizes_are_photographs_unless_they_look_like_thumbnails(tmp_path, options):
    large = np.random.default_rng(3).integers(0, 256, (204, 151)).astype(np.uint8)
    crops = [
        large[:, :-1],
        large[:120],
        large[:103, :77],
        large[:102, :102],
    ]  # one column less, a strip, more than half, square
    small = [large[::2, ::2], large[::2, ::2].T, large[::7, ::7], large[::13, ::13]]
    with tifffile.TiffWriter(tmp_path / "a.tif", **options) as file:
        for pixels in (small[0], crops[0], large, *small[1:], *crops[1:]):
            file.write(pixels, metadata={} if options else None)
    frames = frames_of(tmp_path / "a.tif")
    expected = [crops[0], large, *crops[1:]]
    assert [f.size for f in frames] == [p.shape for p in expected]
    assert {f.passed_over for f in frames} == {4}
    for frame, pixels in zip(frames, expected):
        np.testing.assert_array_equal(read_levels(frame).pixels, pixels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 50)])
def test_the_largest_page_is_no_thumbnail_however_small(tmp_path, shape):
    tifffile.imwrite(tmp_path / "a.tif", np.full(shape, 7, np.uint8), metadata=None)
    (frame,) = frames_of(tmp_path / "a.tif")
    assert (frame.size, frame.passed_over) == (shape, 0)


def test_pages_of_each_size_are_projected_together(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for pixels in (STACK[0], STACK[1][:70], STACK[2], STACK[3][:70]):
            file.write(pixels, metadata=None)
    frames = frames_of(tmp_path / "a.tif", "max")
    assert [f.number for f in frames] == [1, 2]
    for frame, expected in zip(frames, (STACK[[0, 2]].max(0), STACK[[1, 3], :70].max(0))):
        np.testing.assert_array_equal(read_levels(frame).pixels, expected)


@pytest.mark.parametrize(
    "options", [{"imagej": True, "truncate": True}, {"imagej": True}, {}, {"ome": True}, {"bigtiff": True}]
)
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32"])
def test_every_picture_of_a_stack_is_a_photograph_of_its_own(tmp_path, options, dtype):
    """Also of one that has a single directory, as ImageJ writes large ones."""
    path = tmp_path / "stack.tif"
    stack = STACK.astype(dtype)
    tifffile.imwrite(path, stack, byteorder=">" if dtype == ">u2" or options.get("imagej") else None, **options)
    frames = frames_of(path)
    assert [f.number for f in frames] == [1, 2, 3, 4, 5]
    assert {f.size for f in frames} == {(80, 60)}
    for frame, expected in zip(frames, STACK):
        np.testing.assert_array_equal(read_levels(frame).pixels, expected)
    with pytest.raises(DataError, match=r"a stack of 5 pictures; name one, such as stack\.tif#0003"):
        read_photograph(path)
    with pytest.raises(DataError, match=r"stack\.tif has no photograph 6"):
        read_photograph(tmp_path / "stack.tif#0006")


def test_a_file_of_that_name_comes_before_a_frame(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.tif#0002")
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.tif#0002"), GREY)


@pytest.mark.parametrize("unit", [b"micron", b"um", b"\xb5m", b"\\u00B5m", b"microns", "µm".encode(), "μm".encode()])
def test_the_scale_that_imagej_writes_is_read(tmp_path, unit):
    placed = "Q" * len(unit)  # tifffile writes no letters beyond ASCII
    options = {"resolution": (1 / 2.6755, 1 / 2.6755), "metadata": {"unit": placed}}
    tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=True, **options)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content.replace(b"unit=" + placed.encode(), b"unit=" + unit))
    (frame,) = frames_of(tmp_path / "a.tif")
    assert frame.scale.um_per_px == pytest.approx(2.6755, rel=1e-5)
    assert frame.scale.source == "ImageJ"


@pytest.mark.parametrize(("unit", "factor"), [("nm", 1e-3), ("mm", 1e3), ("cm", 1e4)])
def test_other_lengths_of_imagej_become_micrometres(tmp_path, unit, factor):
    tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=True, resolution=(40.0, 40.0), metadata={"unit": unit})
    assert frames_of(tmp_path / "a.tif")[0].scale.um_per_px == pytest.approx(factor / 40)


@pytest.mark.parametrize(("unit", "per_um"), [("µm", 1.0), ("nm", 1e3), ("mm", 1e-3), (None, 1.0)])
def test_the_scale_of_ome_is_read_with_its_unit(tmp_path, unit, per_um):
    metadata = {"axes": "YX", "PhysicalSizeX": 2.6755 * per_um, "PhysicalSizeY": 2.6755 * per_um}
    if unit:
        metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", GREY, metadata=metadata)
    (frame,) = frames_of(tmp_path / "a.ome.tif")
    assert frame.scale.um_per_px == pytest.approx(2.6755)
    assert frame.scale.source == "OME"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from((72, 96, 150, 300, 600, 1200)), st.sampled_from(("INCH", "CENTIMETER", "NONE")))
def test_dots_per_inch_are_no_calibration(tmp_path_factory, dots, unit):
    path = tmp_path_factory.mktemp("dpi") / "a.tif"
    value = dots / 2.54 if unit == "CENTIMETER" else dots
    tifffile.imwrite(path, GREY, resolution=(value, value), resolutionunit=unit, metadata=None)
    assert frames_of(path)[0].scale.um_per_px is None


@pytest.mark.parametrize(("per_cm", "um"), [(11905.0, 0.84), (3737.6, 2.6755), (4000.0, 2.5), (10.0, None), (5e6, None)])
def test_centimetres_are_one_where_they_are_plausible(tmp_path, per_cm, um):
    tifffile.imwrite(tmp_path / "a.tif", GREY, resolution=(per_cm, per_cm), resolutionunit="CENTIMETER", metadata=None)
    found = frames_of(tmp_path / "a.tif")[0].scale
    assert found.um_per_px == (None if um is None else pytest.approx(um, rel=1e-3))


def test_pixels_that_are_not_square_have_no_scale_and_say_so(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=True, resolution=(1.0, 2.0), metadata={"unit": "um"})
    found = frames_of(tmp_path / "a.tif")[0].scale
    assert found.um_per_px is None
    assert "1 by 0.5 um, which are not square" in found.doubt


def test_times_are_hours_since_the_first_picture(tmp_path):
    tifffile.imwrite(tmp_path / "i.tif", STACK, imagej=True, metadata={"axes": "TYX", "finterval": 1800.0})
    assert [f.hours for f in frames_of(tmp_path / "i.tif")] == pytest.approx([0, 0.5, 1, 1.5, 2])
    deltas = {"DeltaT": [10, 40, 70, 100, 130], "DeltaTUnit": ["min"] * 5}
    tifffile.imwrite(tmp_path / "o.ome.tif", STACK, metadata={"axes": "TYX", "Plane": deltas})
    assert [f.hours for f in frames_of(tmp_path / "o.ome.tif")] == pytest.approx([0, 0.5, 1, 1.5, 2])
    with tifffile.TiffWriter(tmp_path / "d.tif") as file:
        for hour, pixels in enumerate(STACK):
            file.write(pixels, metadata=None, datetime=f"2026:03:01 {10 + hour}:00:00")
    assert [f.hours for f in frames_of(tmp_path / "d.tif")] == pytest.approx([0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [(None, 1), ("sec", 1), ("s", 1), ("seconds", 1), ("min", 60), ("minutes", 60), ("Minute", 60), ("h", 3600), ("hr", 3600),
     ("hour", 3600), ("hours", 3600), ("days", 86400), ("d", 86400), ("ms", 1e-3), ("msec", 1e-3), ("\\u00B5s", 1e-6)],
)  # fmt: skip
def test_times_of_imagej_are_in_the_unit_that_it_names(tmp_path, unit, seconds):
    metadata = {"axes": "TYX", "finterval": 30.0} | ({} if unit is None else {"tunit": unit})
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata=metadata)
    hours = [30 * seconds * k / 3600 for k in range(5)]
    assert [f.hours for f in frames_of(tmp_path / "a.tif")] == pytest.approx(hours)


@pytest.mark.parametrize("metadata", [{"tunit": "frames"}, {"tunit": 7}, {"finterval": 0.0}, {"finterval": float("nan")}])
def test_times_that_imagej_does_not_say_are_none(tmp_path, metadata):
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata={"axes": "TYX", "finterval": 30.0} | metadata)
    assert [f.hours for f in frames_of(tmp_path / "a.tif")] == [None] * 5


def ome_images(path, *times, **metadata):
    """An OME file of images with two pictures each, at these seconds."""
    with tifffile.TiffWriter(path, ome=True) as file:
        for seconds in times:
            planes = {"DeltaT": seconds, "DeltaTUnit": ["s"] * 2, "TheT": [0, 1], "TheZ": [0, 0], "TheC": [0, 0]}
            file.write(STACK[:2], photometric="minisblack", metadata={"axes": "TYX", "Plane": planes} | metadata)


def test_times_of_all_images_of_a_file_are_hours_since_its_first_picture(tmp_path):
    """The second of two positions was taken half an hour after the first."""
    ome_images(tmp_path / "a.ome.tif", [600, 4200], [2400, 6000])
    assert [f.hours for f in frames_of(tmp_path / "a.ome.tif")] == pytest.approx([0, 1, 0.5, 1.5])
    ome_images(tmp_path / "b.ome.tif", [2400, 6000], [600, 4200])
    assert [f.hours for f in frames_of(tmp_path / "b.ome.tif")] == pytest.approx([0.5, 1.5, 0, 1])
    ome_images(tmp_path / "c.ome.tif", [600, 4200], TimeIncrement=3600.0, TimeIncrementUnit="s")
    assert [f.hours for f in frames_of(tmp_path / "c.ome.tif")] == pytest.approx([0, 1])


def test_the_first_picture_is_the_earliest_photograph(tmp_path):
    """Neither a thumbnail's time counts nor the order of pages."""
    small = (GREY[::4, ::4], {"subfiletype": 1, "datetime": "2026:03:01 08:00:00"})
    pages = [small, *((GREY, {"datetime": f"2026:03:29 {hour}:00:00"}) for hour in ("03", "01", "04"))]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for pixels, options in pages:
            file.write(pixels, metadata=None, **options)
    assert [f.hours for f in frames_of(tmp_path / "a.tif")] == pytest.approx([2, 0, 3])


def blurred(pixels, amount):
    import cv2

    return pixels if amount == 0 else cv2.GaussianBlur(pixels, (0, 0), amount)


def test_a_z_stack_is_projected(tmp_path):
    """Left and right are sharp in different planes; focus takes each half from its own."""
    sharp = np.random.default_rng(1).integers(0, 256, (200, 300)).astype(np.uint8)
    planes = np.stack(
        [np.hstack([blurred(sharp[:, :150], a), blurred(sharp[:, 150:], b)]) for a, b in ((0, 4), (2, 2), (4, 0))]
    )
    tifffile.imwrite(tmp_path / "z.tif", planes, imagej=True, metadata={"axes": "ZYX"})
    assert [f.planes for f in frames_of(tmp_path / "z.tif")] == [3, 3, 3]
    for method, expected in (("max", planes.max(0)), ("min", planes.min(0))):
        (frame,) = frames_of(tmp_path / "z.tif", method)
        assert (frame.number, frame.planes) == (None, 1)
        np.testing.assert_array_equal(read_levels(frame).pixels, expected)
    found = read_photograph(tmp_path / "z.tif", z="focus")
    np.testing.assert_array_equal(found[:, :135], sharp[:, :135])
    np.testing.assert_array_equal(found[:, 165:], sharp[:, 165:])
    with pytest.raises(InputError, match="'mean' is none"):
        frames_of(tmp_path / "z.tif", "mean")


def test_times_and_channels_stay_apart_where_planes_are_projected(tmp_path):
    stack = np.random.default_rng(2).integers(0, 4000, (2, 3, 2, 20, 30)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TZCYX", "finterval": 3600.0})
    assert len(frames_of(tmp_path / "a.tif")) == 12
    frames = frames_of(tmp_path / "a.tif", "max")
    assert [(f.number, f.hours) for f in frames] == [(1, 0.0), (2, 0.0), (3, 1.0), (4, 1.0)]
    for frame, expected in zip(frames, stack.max(1).reshape(4, 20, 30)):
        np.testing.assert_array_equal(read_levels(frame).pixels, expected)


def test_images_of_an_ome_file_stay_apart_where_planes_are_projected(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for k in range(2):
            file.write(STACK[2 * k : 2 * k + 2], photometric="minisblack", metadata={"axes": "ZYX"})
    frames = frames_of(tmp_path / "a.ome.tif", "max")
    assert [f.number for f in frames] == [1, 2]
    for frame, expected in zip(frames, (STACK[:2].max(0), STACK[2:4].max(0))):
        np.testing.assert_array_equal(read_levels(frame).pixels, expected)


def test_zero_may_be_white(tmp_path):
    for dtype, most in ((np.uint8, 255), (np.uint16, 65535)):
        levels = (GREY.astype(np.uint32) * (most // 255)).astype(dtype)
        tifffile.imwrite(tmp_path / "a.tif", levels, photometric="miniswhite", metadata=None)
        np.testing.assert_allclose(read_photograph(tmp_path / "a.tif"), 255 - GREY, atol=1e-3)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_zero_may_be_white_in_a_stack_with_one_directory(tmp_path, dtype):
    most = np.iinfo(dtype).max
    stack = STACK.astype(dtype) * np.array(most // 255, dtype)
    options = {"photometric": "miniswhite", "imagej": True, "metadata": {"axes": "TYX"}}
    for truncate in (False, True):
        tifffile.imwrite(tmp_path / "a.tif", stack, truncate=truncate, **options)
        for frame, expected in zip(frames_of(tmp_path / "a.tif"), stack):
            np.testing.assert_array_equal(read_levels(frame).pixels, most - expected)


def test_a_palette_holds_for_a_whole_stack_with_one_directory(tmp_path):
    palette = np.repeat(np.arange(256, dtype=np.uint16)[None, ::-1] * 257, 3, 0)
    options = {"imagej": True, "truncate": True, "byteorder": "<", "metadata": {"axes": "TYX"}}
    extra = [(320, "H", palette.size, palette.ravel().tolist(), True)]
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack", extratags=extra, **options)
    with_tag(tmp_path / "a.tif", 262, 3)
    for frame, expected in zip(frames_of(tmp_path / "a.tif"), STACK):
        np.testing.assert_allclose(grey_values(read_levels(frame).pixels), 255 - expected.astype(float), atol=1e-3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["grey", "colour", "deep", "deep colour", "compressed"])
def test_every_turned_tiff_is_turned_upright(tmp_path, orientation, kind):
    upright = np.zeros((20, 40), np.uint8)
    upright[:5, :10], upright[15:, :10] = 200, 90
    back = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T, 6: upright.T[::-1],
            7: upright[::-1, ::-1].T, 8: upright.T[:, ::-1]}[orientation]  # fmt: skip
    stored = np.ascontiguousarray(np.dstack([back] * 3) if "colour" in kind else back)
    stored = stored.astype(np.uint16) * 257 if "deep" in kind else stored
    options = {"photometric": "rgb" if "colour" in kind else "minisblack", "extratags": [(274, "H", 1, orientation, True)]}
    path = tmp_path / "a.tif"
    if kind == "compressed":
        Image.fromarray(stored).save(path, compression="tiff_lzw", exif={0x0112: orientation})
    else:
        tifffile.imwrite(path, stored, metadata=None, **options)
    assert frames_of(path)[0].size == (20, 40)
    np.testing.assert_allclose(read_photograph(path), upright, atol=1e-3)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "jpeg"])
def test_later_pages_of_compressed_files_are_read(tmp_path, compression):
    smooth = [np.full((64, 64), 40 * k, np.uint8) for k in range(1, 4)]
    first, *rest = [Image.fromarray(p) for p in smooth]
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest, compression=compression)
    for frame, expected in zip(frames_of(tmp_path / "a.tif"), smooth):
        np.testing.assert_allclose(grey_values(read_levels(frame).pixels), expected, atol=1)


def grey_picture(mode):
    """GREY in one of Pillow's modes; of 16 bits from black to white."""
    return Image.fromarray(GREY.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(GREY).convert(mode)


@pytest.mark.parametrize(("mode", "factor"), [("L", 1), ("RGB", 1), ("P", 1), ("I;16", 257), ("I", 257), ("F", 257)])
def test_a_compression_that_python_lacks_is_read_by_pillow(tmp_path, monkeypatch, mode, factor):
    """tifffile leaves zstd to Python, which has it from 3.14 on."""

    def failing(*_):
        raise ModuleNotFoundError("No module named 'compression'")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", failing)
    grey_picture(mode).save(tmp_path / "a.tif", compression="zstd")
    white = {"I": 255.0, "F": 255.0}.get(mode)
    np.testing.assert_allclose(read_photograph(tmp_path / "a.tif", white), GREY, atol=1e-3)


def with_tag(path, tag, value):
    """A little-endian TIFF of one page, one of whose numbers of 16 bits says something else."""
    content = bytearray(path.read_bytes())
    start = int.from_bytes(content[4:8], "little")
    places = [start + 2 + 12 * i for i in range(int.from_bytes(content[start : start + 2], "little"))]
    place = next(p for p in places if int.from_bytes(content[p : p + 2], "little") == tag)
    content[place + 8 : place + 10] = value.to_bytes(2, "little")
    path.write_bytes(content)


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_a_compression_that_nothing_reads_is_named_with_what_to_do(tmp_path, monkeypatch, capfd, mode):
    def failing(*_):
        raise ValueError("<COMPRESSION.JETRAW: 48124> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", failing)
    grey_picture(mode).save(tmp_path / "a.tif", compression="tiff_lzw")
    with_tag(tmp_path / "a.tif", 259, 48124)
    with pytest.raises(DataError, match=r"a\.tif: a TIFF compressed as JETRAW.*pip install imagecodecs, or save it anew"):
        read_photograph(tmp_path / "a.tif")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("bits", "unit"), [(1, 257), (8, 257), (1, 1), (8, 1)])
def test_a_palette_of_few_bits_gives_its_colours(tmp_path, bits, unit):
    """Its first entry is the lighter one; some programs write entries of 8 bits."""
    levels = GREY > 100
    palette = np.zeros((3, 2**bits), np.uint16)
    palette[:, 0], palette[:, 1] = 200 * unit, 30 * unit
    stored = levels if bits == 1 else levels.astype(np.uint8)
    options = {"extratags": [(320, "H", palette.size, palette.ravel().tolist(), True)]}
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", byteorder="<", metadata=None, **options)
    with_tag(tmp_path / "a.tif", 262, 3)
    np.testing.assert_allclose(read_photograph(tmp_path / "a.tif"), np.where(levels, 30, 200), atol=1e-3)


def test_colours_that_nothing_reads_are_not_laid_to_the_compression(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "decoded_by_opencv", lambda *_: None)
    deep = np.zeros((8, 9, 4), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="separated", metadata=None)
    with pytest.raises(DataError, match=r"a kind that is not read \(SEPARATED\); save it anew as grey or RGB"):
        read_photograph(tmp_path / "a.tif")


def test_bits_that_a_file_names_say_which_level_is_white(tmp_path):
    levels = np.arange(0, 900, dtype=np.uint16).reshape(30, 30)
    path = tmp_path / "packed.tif"
    packed = np.unpackbits(levels.astype(">u2").view(np.uint8).reshape(30, 30, 2), axis=2)[..., 4:].reshape(30, -1)
    rows = np.packbits(packed, axis=1)
    header = b"II*\0\x08\0\0\0"
    tags = [(256, 3, 1, 30), (257, 3, 1, 30), (258, 3, 1, 12), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8 + 2 + 10 * 12 + 4),
            (277, 3, 1, 1), (278, 3, 1, 30), (279, 4, 1, rows.size), (282, 4, 1, 1)][:10]  # fmt: skip
    body = len(tags).to_bytes(2, "little")
    for code, kind, count, value in tags:
        body += (
            code.to_bytes(2, "little") + kind.to_bytes(2, "little") + count.to_bytes(4, "little") + value.to_bytes(4, "little")
        )
    path.write_bytes(header + body + b"\0\0\0\0" + rows.tobytes())
    found = read_levels(frames_of(path)[0])
    assert found.white == 4095
    np.testing.assert_array_equal(found.pixels, levels)


def test_films_of_other_formats_are_refused(tmp_path):
    first, *rest = [Image.fromarray(p) for p in STACK]
    first.save(tmp_path / "a.webp", save_all=True, append_images=rest)
    with pytest.raises(DataError, match="a film of 5 pictures"):
        read_photograph(tmp_path / "a.webp")


@pytest.mark.parametrize(("name", "words"), [
    ("a.heic", "heic files are not read; export JPEG"),
    ("a.nef", "develop raw"),
    ("a.mp4", "frames of the film"),
])  # fmt: skip
def test_formats_that_are_not_read_are_named_with_what_to_do(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"something that no decoder knows")
    with pytest.raises(DataError, match=words):
        read_photograph(tmp_path / name)


def test_a_directory_of_pixels_that_end_early_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, truncate=True)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:-3000])
    with pytest.raises(DataError, match=r"cut short|no photograph|not a readable"):
        read_photograph(tmp_path / "a.tif#0005")
