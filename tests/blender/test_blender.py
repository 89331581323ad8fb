"""The real Blender: what it renders, agrees with the labels' geometry, and survives. Fails where there is no Blender."""

import dataclasses
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcs_render import generate, process
from pcs_render.blender import Renderer, SceneFailed, find_blender
from pcs_render.errors import BlenderError
from pcs_render.geometry import crystal_points, hull2d, pixels, polygon_area, project
from pcs_render.labels import labels
from pcs_render.profile import PROFILES
from pcs_render.settings import Settings

pytestmark = pytest.mark.blender

SMALL = Settings(width=64, height=64, area=(16.0, 900.0), long_side=60.0, covered=(0.2, 0.2))
PREVIEW, CALIBRATION = PROFILES["preview"], PROFILES["calibration"]


def shapes():
    """Prisms of three to eight sides, some with pyramids on their ends."""
    out = []
    for k in (3, 4, 6, 8):
        angle = np.arange(k) / k * 2 * np.pi
        ring = np.stack((np.cos(angle), np.sin(angle)), -1)
        ends = [np.c_[np.full(k, x), ring] for x in (-1.0, 1.0)]
        out += [np.concatenate(ends), np.concatenate([*ends, [[-2.0, 0, 0], [2.0, 0, 0]]])]
    return out


def scene(image, settings=SMALL):
    return generate.scene(settings, 0, image, shapes())


def grey(rendered):
    with Image.open(io.BytesIO(rendered.png)) as picture:
        assert picture.mode == "L"
        return np.asarray(picture)


@pytest.fixture(scope="module")
def blender():
    return find_blender()


@pytest.fixture(scope="module")
def calibrated(blender):
    with Renderer(CALIBRATION, blender) as renderer:
        yield renderer


def test_a_scene_gives_the_same_bytes_again_in_another_process_and_with_other_threads(blender):
    with Renderer(PREVIEW, blender, threads=2, recycle=2) as renderer:
        first, other, again = (renderer.render(scene(i)) for i in (0, 1, 0))
    with Renderer(PREVIEW, blender, threads=1) as renderer:
        alone = renderer.render(scene(0))
    assert first.png == again.png == alone.png != other.png
    assert grey(first).shape == (64, 64)
    assert len(np.unique(grey(first))) > 20
    assert first.blender.startswith("4.5.")
    assert (first.device, first.tries) == ("CPU", 1)


@pytest.fixture(scope="module")
def other_colours(blender, tmp_path_factory):
    """A colour configuration like Blender's, in which the view Filmic shows plain sRGB."""
    code = "import bpy, os; print(os.path.join(bpy.utils.resource_path('LOCAL'), 'datafiles', 'colormanagement'))"
    asked = (
        [*blender.command[:-2], "-c", code] if blender.command[1] == "-P" else [*blender.command[:-3], "--python-expr", code]
    )
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    theirs = next(Path(line) for line in said.splitlines() if Path(line).name == "colormanagement")
    copied = shutil.copytree(theirs, tmp_path_factory.mktemp("colours") / "colormanagement")
    config = copied / "config.ocio"
    text = config.read_text()
    assert "{name: Filmic, colorspace: Filmic sRGB}" in text
    config.write_text(text.replace("{name: Filmic, colorspace: Filmic sRGB}", "{name: Filmic, colorspace: sRGB}"))
    return config


def test_the_environment_cannot_change_the_pictures(blender, other_colours, monkeypatch):
    def picture():
        with Renderer(PREVIEW, blender) as renderer:
            return renderer.render(scene(0)).png

    want = picture()
    monkeypatch.setenv("OCIO", str(other_colours))
    for name in ("CYCLES_CPU_NO_AVX2", "CYCLES_CPU_NO_AVX", "CYCLES_CPU_NO_SSE42", "BLENDER_USER_CONFIG", "OCIO_ACTIVE_VIEWS"):
        monkeypatch.setenv(name, "1")
    assert picture() == want
    monkeypatch.delenv("OCIO_ACTIVE_VIEWS")
    monkeypatch.setattr(process, "clean_environment", lambda: dict(os.environ))
    assert picture() != want  # these variables would have


def hull(s, crystal):
    return hull2d(project(s.camera, crystal_points(s, crystal)))


def mask(polygon, width, height, fine=8):
    """The pixels that lie in the polygon by more than half."""
    rows, columns, inside = pixels(polygon * fine, width * fine, height * fine)
    out = np.zeros((height * fine, width * fine))
    out[rows, columns] = inside
    return out.reshape(height, fine, width, fine).mean((1, 3)) > 0.5


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


BRIGHT = dataclasses.replace(
    SMALL, width=96, height=64, bright_field=1.0, relief=(0.5, 0.5), brightness=(0.4, 0.4), refractive_index=(1.1, 1.1)
)


@pytest.fixture(scope="module")
def drafts(blender):
    with Renderer(PROFILES["draft"], blender) as renderer:
        yield renderer


@pytest.mark.parametrize("aperture", [0.1, 10.0])
def test_the_bare_ground_of_a_bright_field_is_even_whatever_the_blur(drafts, aperture):
    s = scene(0, dataclasses.replace(BRIGHT, aperture=(aperture, aperture), focus=(0.0, 0.0)))
    bare = grey(drafts.render(dataclasses.replace(s, crystals=())))
    assert np.ptp(bare) <= 12  # of the denoiser; where the ground ends, pixels are 80 grey levels darker
    assert 100 < bare.mean() < 200


def test_light_from_below_throws_no_shadows(drafts):
    """Around a crystal the ground is as bright as without it, and the crystal's edges are not."""
    s = scene(0, dataclasses.replace(BRIGHT, f_stop=0.0, max_crystals=1, area=(300.0, 900.0)))
    bare = grey(drafts.render(dataclasses.replace(s, crystals=()))).astype(int)
    picture = grey(drafts.render(s)).astype(int)
    inside = mask(hull(s, s.crystals[0]), 96, 64)
    wide = np.any([np.roll(inside, move, (0, 1)) for move in np.ndindex(5, 5)], axis=0)
    wide = np.roll(wide, (-2, -2), (0, 1))
    assert np.abs(picture - bare)[~wide].max() <= 4
    assert np.abs(picture - bare)[inside].max() > 30


def test_spheres_are_seen_and_have_no_label(drafts):
    s = scene(0, dataclasses.replace(BRIGHT, f_stop=0.0, max_crystals=1, spheres=(1, 1), sphere_size=(20.0, 20.0)))
    assert len(labels(s).boxes) == 1
    alone = dataclasses.replace(s, crystals=(), spheres=(dataclasses.replace(s.spheres[0], refractive_index=0.75),))
    changed = grey(drafts.render(alone)).astype(int) - grey(drafts.render(dataclasses.replace(alone, spheres=())))
    rows, columns = np.nonzero(np.abs(changed) > 20)
    x, y = project(s.camera, alone.spheres[0].location)
    distance = np.hypot(columns + 0.5 - x, rows + 0.5 - y)
    assert len(rows) > 20
    assert distance.max() < 20 / 2 + 2  # a bubble is dark at its edge


def test_labels_of_cut_and_touching_crystals_agree_with_the_pixels(calibrated):
    settings = Settings(
        width=160, height=128, area=(60.0, 4000.0), long_side=128.0, material="opaque", f_stop=0.0, covered=(0.3, 0.3),
        visible=0.3, contact=0.5,
    )  # fmt: skip
    s = scene(1, settings)
    polygons = labels(s).polygons
    cut = [i for i, p in enumerate(polygons) if p.min() == 0 or (p.max(0) == (160, 128)).any()]
    assert cut
    for i in cut:
        seen = grey(calibrated.render(dataclasses.replace(s, crystals=(s.crystals[i],)))) > 255 * s.crystals[i].tint / 2
        assert iou(seen, mask(polygons[i], 160, 128)) >= 0.95
    together = np.any([mask(polygon, 160, 128) for polygon in polygons], axis=0)
    assert iou(grey(calibrated.render(s)) > 255 * 0.75 / 2, together) >= 0.97


@pytest.mark.parametrize(("width", "height"), [(256, 256), (160, 96), (96, 160)])
def test_hulls_agree_with_the_pixels_of_opaque_crystals(calibrated, width, height):
    settings = Settings(
        width=width,
        height=height,
        area=(60.0, width * height / 8),
        long_side=float(min(width, height)),
        material="opaque",
        f_stop=0.0,
        covered=(0.3, 0.3),
    )
    s = scene(0, settings)
    hulls = [hull(s, crystal) for crystal in s.crystals]
    large = [i for i, polygon in enumerate(hulls) if polygon_area(polygon) > 100]
    assert len(large) >= 3
    for i in large:
        alone = dataclasses.replace(s, crystals=(s.crystals[i],))
        seen = grey(calibrated.render(alone)) > 255 * s.crystals[i].tint / 2
        assert iou(seen, mask(hulls[i], width, height)) >= 0.97
    together = np.any([mask(polygon, width, height) for polygon in hulls], axis=0)
    assert iou(grey(calibrated.render(s)) > 255 * 0.75 / 2, together) >= 0.97


def lone(s, location, **changes):
    """The scene with its largest crystal alone, at another place."""
    largest = max(s.crystals, key=lambda c: c.target.area)
    return dataclasses.replace(s, crystals=(dataclasses.replace(largest, location=location, **changes),))


def test_the_image_is_sharp_at_the_focus_and_blurred_away_from_it(calibrated):
    s = scene(0, dataclasses.replace(SMALL, material="opaque"))
    scale, tint = (getattr(lone(s, (0.0, 0.0, 0.0)).crystals[0], name) for name in ("scale", "tint"))

    def soft(depth, f_stop):
        """Pixels that are neither crystal nor background, for a crystal that is as large on the image at any depth."""
        reach = (s.camera.distance + depth) / s.camera.focus_distance
        there = lone(s, (0.0, 0.0, -depth), scale=tuple(v * reach for v in scale))
        camera = dataclasses.replace(s.camera, f_stop=f_stop)
        picture = grey(calibrated.render(dataclasses.replace(there, camera=camera))) / (255 * tint)
        return ((picture > 0.1) & (picture < 0.9)).sum()

    focused = soft(7.5, 0.02)
    assert soft(1.0, 0.02) > 1.5 * focused
    assert soft(14.5, 0.02) > 1.2 * focused
    assert soft(1.0, 0.0) < 1.2 * focused


def test_glass_is_seen_by_its_index_and_its_tint(blender):
    s = scene(0, dataclasses.replace(SMALL, f_stop=0.0, bottom_lamp=False))  # that one is seen through glass alone
    middle = lone(s, (0.0, 0.0, -7.5))
    inside = mask(hull(middle, middle.crystals[0]), 64, 64)

    with Renderer(dataclasses.replace(PREVIEW, samples=64), blender) as renderer:

        def picture(**changes):
            return grey(renderer.render(lone(s, (0.0, 0.0, -7.5), **changes)))[inside].astype(float)

        bare = grey(renderer.render(dataclasses.replace(s, crystals=())))[inside].astype(float)
        seen = [np.abs(picture(refractive_index=n, tint=1.0) - bare).mean() for n in (1.001, 1.1, 1.5)]
        greys = [picture(refractive_index=1.1, tint=tint).mean() for tint in (0.5, 0.7, 0.9)]
    assert seen == sorted(seen)
    assert seen[2] > seen[0] + 5
    assert greys == sorted(greys)
    assert greys[2] > greys[0] + 5


def test_the_floor_is_lit_from_the_side_of_the_lamp(blender):
    s = dataclasses.replace(scene(0), crystals=())
    strong = dataclasses.replace(s, lamps=tuple(dataclasses.replace(lamp, power=2 * lamp.power) for lamp in s.lamps))
    with Renderer(PREVIEW, blender) as renderer:
        floor, brighter = (grey(renderer.render(t)).astype(float) for t in (s, strong))
    x, y = s.lamps[0].location[:2]
    assert (floor[:, 32:].mean() > floor[:, :32].mean()) == (x > 0)
    assert (floor[:32].mean() > floor[32:].mean()) == (y > 0)
    assert (brighter > floor).all()
    border = np.concatenate((floor[0], floor[-1], floor[:, 0], floor[:, -1]))
    next_to_it = np.concatenate((floor[1], floor[-2], floor[:, 1], floor[:, -2]))
    assert abs(border.mean() - next_to_it.mean()) < 1  # it fills the view


LONG = dataclasses.replace(PREVIEW, samples=2500)  # some seconds


@pytest.fixture(scope="module")
def undisturbed(blender):
    with Renderer(LONG, blender, heartbeat=3.0) as renderer:
        rendered = renderer.render(scene(3))
    assert rendered.seconds > 2
    assert rendered.tries == 1  # it showed signs of life all the time
    return rendered


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_killed_or_stopped_in_a_picture_costs_one_try(blender, undisturbed, signum):
    with Renderer(LONG, blender, heartbeat=3.0) as renderer:
        renderer.render(scene(4, dataclasses.replace(SMALL, width=16, height=16, area=(4.0, 64.0), long_side=16.0)))
        first = renderer.worker_pid
        timer = threading.Timer(1.0, os.kill, (first, signum))
        timer.start()
        rendered = renderer.render(scene(3))
        timer.join()
        assert renderer.worker_pid != first
    assert (rendered.png, rendered.tries) == (undisturbed.png, 2)


def test_the_worker_goes_in_the_middle_of_a_picture_when_its_parent_is_killed(blender, tmp_path):
    path = tmp_path / "scene.json"
    path.write_text(scene(3).to_json())
    script = (
        "import sys, threading, time; from pcs_render.blender import *; from pcs_render.profile import *\n"
        f"from pcs_render.scene import Scene; profile = Profile('long', 10**6)\n"
        f"r = Renderer(profile, Blender({blender.command!r}))\n"
        "threading.Thread(target=r.render, args=(Scene.load(sys.argv[1]),), daemon=True).start()\n"
        "while not r.worker_pid or not r._greeted: time.sleep(0.1)\n"
        "time.sleep(2); print(r.worker_pid, r._folder.name, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        pid, folder = parent.stdout.readline().split()
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
    end = time.monotonic() + 10
    while (Path(f"/proc/{pid}").exists() or Path(folder).exists()) and time.monotonic() < end:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()
    assert not Path(folder).exists()


def test_a_device_that_is_not_there_is_told(blender):
    device = "CUDA" if sys.platform == "darwin" else "METAL"
    with Renderer(PREVIEW, blender, device=device) as renderer, pytest.raises(BlenderError, match=f"no {device} device"):
        renderer.render(scene(0))


def test_a_profile_that_blender_does_not_know_is_no_fault_of_the_scene(blender):
    profile = dataclasses.replace(PREVIEW, look="Sunday")
    with Renderer(profile, blender) as renderer, pytest.raises(BlenderError, match=r"refuses the profile.*Sunday") as caught:
        renderer.render(scene(0))
    assert not isinstance(caught.value, SceneFailed)
