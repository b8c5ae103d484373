"""The Python that MONAI runs in: a virtual environment of pinned versions in the cache, made on first use.

`enter()` re-executes the calling script inside it. SEGBUNDLE_MONAI_PYTHON names another Python that has the same
packages, and nothing is installed then. pip's own settings (proxy, mirror, offline folder of wheels) work as usual.
"""
import os
import subprocess
import sys
import venv

PACKAGES = ["torch==2.11.0", "monai==1.6.1", "pytorch-ignite==0.5.5", "nibabel==5.4.2", "fire", "tensorboard", "scipy", "pyyaml"]
ENTERED = "SEGBUNDLE_MONAI_ENTERED"


def cache_folder(*parts):
    """${XDG_CACHE_HOME:-~/.cache}/segbundle/parts"""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "segbundle", *parts)


def monai_python():
    """The path of a Python that has PACKAGES; creates the environment if it is missing or incomplete."""
    chosen = os.environ.get("SEGBUNDLE_MONAI_PYTHON")
    if chosen:
        return chosen
    folder = cache_folder("monai-1.6.1")
    python = os.path.join(folder, "bin", "python")
    stamp = os.path.join(folder, "complete")
    wanted = "\n".join(PACKAGES) + "\n"
    if os.path.exists(stamp) and os.path.exists(python):
        with open(stamp, encoding="utf-8") as text:
            if text.read() == wanted:
                return python
    print(f"setting up MONAI in {folder} (once; pip downloads about 2.5 GB)", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", *PACKAGES]
    if subprocess.run(pip).returncode:
        sys.exit("pip could not install MONAI (its own message is above); without a network set PIP_NO_INDEX=1 and "
                 "PIP_FIND_LINKS=FOLDER_OF_WHEELS, or set SEGBUNDLE_MONAI_PYTHON to a Python that has " + " ".join(PACKAGES))
    with open(stamp, "w", encoding="utf-8") as text:
        text.write(wanted)
    return python


def enter():
    """Continue this script inside the environment: returns there, never in the Python that called it first."""
    python = monai_python()
    if os.environ.get(ENTERED) == python:
        return
    sys.stdout.flush()
    os.execve(python, [python, *sys.argv], {**os.environ, ENTERED: python})
