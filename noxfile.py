"""Every task of the project: ``nox -s demo``, ``tests``, ``tests_blender``, ``tests_cluster``, ``tests_photographs``,
``tests_detect``, ``docs``, ``lint``, ``types``, ``bench``, ``bench_scenes``, ``bench_blender``, ``bench_detect``; ``gpu``,
``gpu_detect``, ``bench_gpu`` where there is one.

Sessions install the exact versions that CI tests (.ci/constraints.txt), so that they give everybody the same result; the
package itself asks only for ranges.
"""

import os
import shutil

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"

CONSTRAINTS = ".ci/constraints.txt"


def install(session: nox.Session, *what: str, constraints: str = CONSTRAINTS) -> None:
    # pip's own variable also reaches the isolated environments that builds run in
    session.env["PIP_CONSTRAINT"] = os.path.abspath(constraints)
    session.install("--prefer-binary", *what)


def install_compiled(session: nox.Session, *package: str) -> None:
    """A package without wheels: installed where it can be built; CI insists on it."""
    session.env["PIP_CONSTRAINT"] = os.path.abspath(CONSTRAINTS)
    session.install(*package, success_codes=[0] if os.environ.get("CI") else [0, 1], silent=True)


def install_detect(session: nox.Session) -> None:
    """pcs_detect with OpenMMLab's packages, whose operations are compiled once (10 minutes); pip keeps the wheel."""
    constraints = ".ci/constraints-detect.txt"
    install(session, "torch", "setuptools>=77", "wheel", "ninja", "psutil", "hatchling", "editables", constraints=constraints)
    session.env["MMCV_WITH_OPS"] = "1"
    session.install("--no-build-isolation", "-e", "./pcs_detect[train,test]")
    looked = "import importlib.util, mmcv; print('compiled' if importlib.util.find_spec('mmcv._ext') else 'plain')"
    if "plain" in (session.run_install("python", "-W", "ignore", "-c", looked, silent=True) or ""):
        # pip kept a wheel that was built for a CPU without a compiler
        session.install("--no-build-isolation", "--no-deps", "--no-cache-dir", "--force-reinstall", "onedl-mmcv")


@nox.session
def demo(session: nox.Session) -> None:
    """Augment labelled images inside a data loader, write out/demo.png, print images per second."""
    install(session, ".[cli,cpu]")
    session.run("python", "-m", "pcs_augment.demo", "--out", "out/demo.png", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The whole test suite on the CPU, files beside each other on up to four cores."""
    install(session, "-e", ".[test]")
    install_compiled(session, "noise")
    beside = ["-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile"]  # a file's tests share what they prepare
    session.run("pytest", "-m", "not gpu and not blender and not cluster", *beside, *session.posargs)


@nox.session(python="3.11")
def tests_blender(session: nox.Session) -> None:
    """Render two images with the real Blender, as a user would, then run its tests."""
    install(session, ".[blender]", "pytest", constraints=".ci/constraints-blender.txt")
    folder = session.create_tmp()
    data = os.path.join(folder, "data")
    shutil.rmtree(data, ignore_errors=True)
    session.run("pcs-render", "render", "--count", "2", "--out", data)
    session.run("pcs-render", "verify", data)
    session.run("pcs-render", "report", data, "--out", os.path.join(folder, "report"))
    session.run("pytest", "tests/blender", "-m", "blender", *session.posargs)


@nox.session
def tests_cluster(session: nox.Session) -> None:
    """Render on a Ray cluster of several nodes on this machine while workers are killed (no Blender needed)."""
    install(session, "-e", ".[test,cluster]")
    session.run("pytest", "tests/cluster", "-m", "cluster", *session.posargs)


@nox.session
def tests_photographs(session: nox.Session) -> None:
    """From photographs to sizes with the packages of that half alone: no torch, no compiler; a minute or two."""
    install(session, "-e", "./pcs_detect[test]", constraints=".ci/constraints-photographs.txt")
    session.chdir("pcs_detect")
    session.run("pytest", "--ignore=tests/training", "-m", "not browser", *session.posargs)


@nox.session(python="3.11")
def tests_detect(session: nox.Session) -> None:
    """Train, resume, distribute and evaluate real detectors on the CPU; click through a report if there is a Chromium."""
    install_detect(session)
    session.chdir("pcs_detect")
    browser = os.environ.get("CI") or shutil.which("chromedriver")  # CI insists on it
    session.run("pytest", "-m", "not gpu" if browser else "not gpu and not browser", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """The tests that need a CUDA device."""
    install(session, "-e", ".[test]")
    session.run("pytest", "tests", "-m", "gpu", *session.posargs)


@nox.session(python="3.11")
def gpu_detect(session: nox.Session) -> None:
    """The tests of pcs_detect that need a CUDA device; compiles OpenMMLab's operations for it."""
    install_detect(session)
    session.chdir("pcs_detect")
    session.run("pytest", "-m", "gpu", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Make the gallery and build the site into site/; a broken link or a name that is gone is an error."""
    install(session, ".[data,cpu]")
    # ruff breaks the lines of long signatures
    install(session, "mkdocs-material", "mkdocstrings[python]", "ruff", constraints=".ci/constraints-docs.txt")
    session.run("python", "docs/pictures.py")
    session.run("mkdocs", "build", "--strict", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def lint(session: nox.Session) -> None:
    install(session, "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    install(session, "mypy", "jaxtyping", ".[cli]")
    session.run("mypy")
    session.run("mypy", "tests/augment/test_types.py")
    session.run("mypy", "pcs_detect/pcs_detect")


def bench_on(session: nox.Session, device: str, out: str) -> None:
    """Run the suites of benchmarks/ on a device; tables and pictures of what they measured land in ``out``."""
    install(session, "-e", ".[bench]", "setuptools")
    install_compiled(session, "noise")
    install_compiled(session, "--no-build-isolation", "--no-deps", "pyfastnoisesimd")  # its build imports numpy
    os.makedirs(out, exist_ok=True)
    results = f"{out}/results.json"
    options = ["--benchmark-only", "--benchmark-quiet", f"--benchmark-json={results}", "--device", device]
    session.run("pytest", "benchmarks", *options, *session.posargs)
    session.run("python", "benchmarks/summary.py", results, "--out", out)


@nox.session
def bench(session: nox.Session) -> None:
    """Speed on the CPU, beside other libraries: out/bench/tables.md and pictures; takes 10 minutes."""
    bench_on(session, "cpu", "out/bench")


@nox.session
def bench_gpu(session: nox.Session) -> None:
    """Speed on a CUDA device, beside other libraries and in a training loop: out/bench_gpu/tables.md and pictures."""
    bench_on(session, "cuda", "out/bench_gpu")
    session.run("python", "-m", "pcs_augment.cli", "bench", "--device", "cuda", "--out", "out/bench_gpu/command.png")
    session.run("python", "benchmarks/traffic.py", "--measure")
    session.run(
        "python", "benchmarks/training_loop.py", "--device", "cuda", "--profile", "--out", "out/bench_gpu/training_loop"
    )


@nox.session
def bench_scenes(session: nox.Session) -> None:
    """Scenes without rendering: speed of the fit, distributions against the model (half an hour), reading of shards."""
    install(session, "-e", ".[test]")
    session.run("python", "benchmarks/scenes.py")
    session.run("python", "benchmarks/scene_statistics.py", "--out", "out/scene_statistics.png")
    session.run("python", "benchmarks/shards.py")


@nox.session(python="3.11")
def bench_blender(session: nox.Session) -> None:
    """Seconds and noise of each render profile, and the memory of the worker; takes an hour."""
    install(session, ".[blender]", constraints=".ci/constraints-blender.txt")
    session.run("python", "benchmarks/render_profiles.py", "--out", "out/render_profiles", *session.posargs)
    session.run("python", "benchmarks/render_memory.py")


@nox.session(python="3.11")
def bench_detect(session: nox.Session) -> None:
    """Opening the labels of 322,558 images, the metric on 10,000; with a folder of pcs-render: what the noise is worth."""
    install_detect(session)
    session.run("python", "benchmarks/detect_labels.py")
    session.run("python", "benchmarks/detect_metric.py")
    if session.posargs:
        session.run("python", "benchmarks/detect_noise.py", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, install it alone, use it outside the checkout."""
    install(session, "build")
    folder = session.create_tmp()
    session.run("python", "-m", "build", "--wheel", "--outdir", folder)
    (built,) = (os.path.join(folder, f) for f in sorted(os.listdir(folder))[-1:] if f.endswith(".whl"))
    install(session, f"{built}[cli]", "--force-reinstall" if session.posargs else "--upgrade")
    session.chdir(folder)
    session.run("python", "-c", "import pcs_augment as pa; assert 'site-packages' in pa.__file__, pa.__file__")
    session.run("pcs-augment", "--version")
    session.run("python", "-m", "pcs_augment.demo", "--out", "wheel-demo.png", "--epochs", "1")
