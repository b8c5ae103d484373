#!/usr/bin/env python3
"""Install NiiVue, which `segbundle view` shows in the browser: `make viewer`.

The package named in niivue.json is downloaded by npm if it is installed, so that its settings apply (registry, proxy),
and by Python otherwise. Without a network: NIIVUE=niivue-VERSION.tgz make viewer, with a file made by `npm pack` on
another machine. The file's hash is compared in any case. Only one file of the package is kept, in
${XDG_CACHE_HOME:-~/.cache}/segbundle. `--copy FOLDER` copies it from there, if it is there (`make install`).
"""
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "niivue.json")) as text:
    PACKAGE = json.load(text)
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "segbundle")
TARGET = os.path.join(CACHE, f"niivue-{PACKAGE['version']}.js")


def stop(message):
    sys.exit(f"viewer: {message}")


def download(folder):
    """Return the path of the package's archive."""
    given = os.environ.get("NIIVUE")
    if given:
        return given
    print(f"viewer: downloading NiiVue {PACKAGE['version']} (5 MB) into {CACHE}", flush=True)
    if shutil.which("npm"):
        name = f"{PACKAGE['package']}@{PACKAGE['version']}"
        if subprocess.run(["npm", "pack", name, "--silent", "--pack-destination", folder], stdout=subprocess.DEVNULL).returncode:
            stop("npm could not download the package (see its message above)")
        return os.path.join(folder, os.listdir(folder)[0])
    path = os.path.join(folder, "niivue.tgz")
    try:
        with urllib.request.urlopen(PACKAGE["url"], timeout=60) as source, open(path, "wb") as out:
            shutil.copyfileobj(source, out)
    except OSError as error:
        stop(f"cannot download {PACKAGE['url']}: {error}; on a machine with npm, `npm pack {PACKAGE['package']}@"
             f"{PACKAGE['version']}` makes a file for NIIVUE=FILE make viewer")
    return path


def main():
    if sys.argv[1:2] == ["--copy"]:
        if os.path.exists(TARGET):
            shutil.copy(TARGET, sys.argv[2])
        return
    if os.path.exists(TARGET) and not os.environ.get("NIIVUE"):
        return
    os.makedirs(CACHE, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="niivue-") as folder:
        path = download(folder)
        try:
            with open(path, "rb") as archive:
                digest = base64.b64encode(hashlib.sha512(archive.read()).digest()).decode()
        except OSError as error:
            stop(f"cannot read {path}: {error.strerror}")
        if f"sha512-{digest}" != PACKAGE["integrity"]:
            stop(f"{path} is not NiiVue {PACKAGE['version']}: expected {PACKAGE['integrity']}, found sha512-{digest}")
        with tarfile.open(path) as archive, open(os.path.join(folder, "unpacked"), "wb") as out:
            shutil.copyfileobj(archive.extractfile("package/" + PACKAGE["file"]), out)
        # The target is always complete.
        os.rename(out.name, TARGET)
    print(f"viewer: {TARGET}")


if __name__ == "__main__":
    main()
