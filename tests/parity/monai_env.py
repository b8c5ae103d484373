"""Virtual environment for MONAI with pinned versions, created in the cache on first use.

`enter()` re-executes the calling script in it. Set SEGBUNDLE_MONAI_PYTHON to use another Python that has the same
packages, without installing anything. pip's settings (proxy, mirror, offline folder of wheels) are respected.
"""
import os
import subprocess
import sys
import venv

PACKAGES = ["torch==2.11.0", "monai==1.6.1", "pytorch-ignite==0.5.5", "nibabel==5.4.2", "fire", "tensorboard", "scipy", "pyyaml",
            # Version 0.26 takes the size below which MONAI removes components for the largest that is removed.
            "scikit-image==0.25.2",
            # for the DICOM series of tests/data/dicom/make.py
            "pydicom==3.0.2", "SimpleITK==2.5.7", "pyjpegls==1.5.1", "pylibjpeg==2.1.0", "pylibjpeg-openjpeg==2.6.0"]
ENTERED = "SEGBUNDLE_MONAI_ENTERED"


def cache_folder(*parts):
    """${XDG_CACHE_HOME:-~/.cache}/segbundle/parts"""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "segbundle", *parts)


def monai_python():
    """Path of a Python with PACKAGES; creates the environment if it is missing or incomplete."""
    chosen = os.environ.get("SEGBUNDLE_MONAI_PYTHON")
    if chosen:
        return chosen
    folder = cache_folder("monai-1.6.1")
    python = os.path.join(folder, "bin", "python")
    stamp = os.path.join(folder, "complete")
    installed = None
    if os.path.exists(stamp) and os.path.exists(python):
        with open(stamp, encoding="utf-8") as text:
            installed = set(text.read().split("\n")) - {""}
        if installed == set(PACKAGES):
            return python
    print(f"setting up MONAI in {folder} (once; pip downloads about 2.5 GB)", flush=True)
    # New packages are added to an environment whose others are as wanted.
    if installed is None or not installed <= set(PACKAGES):
        venv.create(folder, clear=True, with_pip=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", *PACKAGES]
    if subprocess.run(pip).returncode:
        sys.exit("pip could not install MONAI (its own message is above); without a network set PIP_NO_INDEX=1 and "
                 "PIP_FIND_LINKS=FOLDER_OF_WHEELS, or set SEGBUNDLE_MONAI_PYTHON to a Python that has " + " ".join(PACKAGES))
    with open(stamp, "w", encoding="utf-8") as text:
        text.write("\n".join(PACKAGES) + "\n")
    return python


def enter():
    """Re-execute this script in the environment; returns only there."""
    python = monai_python()
    if os.environ.get(ENTERED) == python:
        return
    sys.stdout.flush()
    os.execve(python, [python, *sys.argv], {**os.environ, ENTERED: python})
