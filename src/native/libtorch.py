#!/usr/bin/env python3
"""Install libtorch: `make setup`, or `make setup CUDA=1` for a machine with an NVIDIA GPU.

pip is only used to download wheels: no Python environment is changed, and pip's settings apply as usual (proxy, mirror,
PIP_NO_INDEX with PIP_FIND_LINKS for an offline folder of wheels). Wheels are verified against the hashes below and
unpacked once into ${XDG_CACHE_HOME:-~/.cache}/segbundle. The clone gets a symbolic link `.libtorch`, to which
.cargo/config.toml refers. If LIBTORCH is set, nothing is downloaded.
"""
import ctypes
import glob
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile

VERSION = "2.11.0"
# requirement: (sha256 of the wheel on PyPI, files that a CPU build needs)
WHEELS = {
    f"torch=={VERSION}": (
        "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
        ("torch/lib/libc10.so", "torch/lib/libtorch_cpu.so", "torch/lib/libtorch.so", "torch/lib/libgomp.so.1", "torch/include/"),
    ),
    "nvidia-cuda-cupti==13.0.85": (
        "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
        ("nvidia/cu13/lib/libcupti.so.13",),
    ),
    "nvidia-cuda-runtime==13.0.96": (
        "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        ("nvidia/cu13/lib/libcudart.so.13",),
    ),
}
PLATFORM = ["--only-binary=:all:", "--python-version", "3.11"] + [
    word for tag in ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_25_x86_64", "manylinux2014_x86_64") for word in ("--platform", tag)
]
CLONE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "segbundle")


def stop(message):
    sys.exit(f"setup: {message}")


def download(cuda, folder):
    """Run pip download into `folder`; for the CUDA build, pip resolves the dependencies of torch."""
    os.makedirs(folder, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        for name, (sha256, _) in WHEELS.items():
            wanted.write(f"{name} --hash=sha256:{sha256}\n")
        wanted.flush()
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", *PLATFORM, "-d", folder]
        runs = [pip + ["--no-deps", "--require-hashes", "-r", wanted.name]]
        if cuda:
            runs.append(pip + [f"torch=={VERSION}"])
        for run in runs:
            if subprocess.run(run).returncode:
                stop("pip could not download libtorch's wheels (see its message above); without network access, set "
                     "PIP_NO_INDEX=1 and PIP_FIND_LINKS=FOLDER_OF_WHEELS, or set LIBTORCH to a libtorch " + VERSION)


def unpack(cuda, wheels, target):
    """Unpack the needed files beside `target`, then rename, so that `target` is always complete."""
    partial = tempfile.mkdtemp(dir=CACHE, prefix="unpacking-")
    parts = tuple(part for _, needed in WHEELS.values() for part in needed)
    for wheel in sorted(glob.glob(os.path.join(wheels, "*.whl"))):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                whole = name.startswith(("torch/lib/", "torch/include/", "nvidia/")) and cuda
                if (whole or name.startswith(parts)) and not name.endswith("/"):
                    archive.extract(name, partial)
    with open(os.path.join(partial, "torch", "build-version"), "w") as out:
        out.write(VERSION + "\n")
    shutil.rmtree(target, ignore_errors=True)
    os.rename(partial, target)


def complete(target, cuda):
    """Return whether `target` contains this version and its library can be loaded."""
    try:
        with open(os.path.join(target, "torch", "build-version")) as text:
            if text.read().strip() != VERSION:
                return False
        ctypes.CDLL(os.path.join(target, "torch", "lib", "libtorch_cpu.so"))
        return not cuda or os.path.exists(os.path.join(target, "torch", "lib", "libtorch_cuda.so"))
    except OSError:
        return False


def main():
    cuda = os.environ.get("CUDA", "") not in ("", "0")
    if os.environ.get("LIBTORCH"):
        return print(f"setup: using LIBTORCH={os.environ['LIBTORCH']}")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        stop(f"libtorch is downloaded for Linux on x86_64 only (this is {platform.system()} on {platform.machine()}); "
             f"set LIBTORCH to an existing libtorch {VERSION}")
    target = os.path.join(CACHE, f"libtorch-{VERSION}-{'cuda' if cuda else 'cpu'}")
    if not complete(target, cuda):
        print(f"setup: downloading libtorch {VERSION} ({'CUDA, about 2.5 GB' if cuda else 'CPU, 0.55 GB'}) into {CACHE}", flush=True)
        wheels = os.path.join(CACHE, "wheels-cuda" if cuda else "wheels")
        download(cuda, wheels)
        unpack(cuda, wheels, target)
        shutil.rmtree(wheels, ignore_errors=True)
        if not complete(target, cuda):
            stop(f"libtorch cannot be loaded from {target}: it requires glibc 2.28 or newer")
    link = os.path.join(CLONE, ".libtorch")
    if not (os.path.islink(link) and os.readlink(link) == target):
        if os.path.lexists(link):
            os.remove(link)
        os.symlink(target, link)
    if not cuda and (os.path.exists("/proc/driver/nvidia/version") or shutil.which("nvidia-smi")):
        print("setup: this machine has an NVIDIA driver; run `make setup CUDA=1` to install the CUDA build")


if __name__ == "__main__":
    main()
