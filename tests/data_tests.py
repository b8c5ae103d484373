#!/usr/bin/env python3
"""Run the tests that cargo ignores, on data that are not part of this repository; `make test-data` runs this.

    python3 tests/data_tests.py [FOLDER]

FOLDER (default ../shared) holds the data: CTs, collected NIfTI files, published configs and expressions, arrays and
checkpoints made by MONAI. The larger sets of arrays and DICOM series are made here from its CTs, with MONAI and pydicom.
A missing file is an error.
"""
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "parity"))
import monai_env


def main():
    folder = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "..", "shared"))
    if not os.path.isdir(folder):
        sys.exit(f"{folder}: no such folder; give the folder of the data")
    data = os.path.join(ROOT, "tests", "data")

    def ct(name):
        return os.path.join(folder, "data", "ct", name, "image.nii.gz")

    with tempfile.TemporaryDirectory(prefix="segbundle-data-tests-") as work:
        arrays = os.path.join(work, "large.npz")
        series = os.path.join(work, "series")
        cts = [ct(name) for name in ("lung_small", "vertebra_pir", "three_slices")]
        subprocess.run([sys.executable, os.path.join(data, "make_transforms.py"), arrays, *cts], check=True)
        subprocess.run([sys.executable, os.path.join(data, "dicom", "make.py"), ct("vertebra_pir"), series], check=True)
        reference = os.path.join(folder, "oracle", "ref")
        variables = {
            "DICOM_CHECKS": series,
            "PUBLISHED_EXPRESSIONS": os.path.join(folder, "upstream", "expressions.txt"),
            "SEGBUNDLE_CHECKPOINTS": reference,
            "SEGBUNDLE_LARGE_TRANSFORMS": arrays,
            "SEGBUNDLE_NIFTI_EDGE": os.path.join(folder, "data", "nifti_edge"),
            "SEGBUNDLE_REFERENCE": reference,
            "SEGBUNDLE_WHOLEBODY": os.path.join(folder, "upstream", "wholeBody_ct_segmentation", "configs"),
        }
        cargo = [os.environ.get("CARGO", "cargo"), "test", "--release", "--workspace", "--no-fail-fast", "--", "--ignored"]
        sys.exit(subprocess.run(cargo, cwd=ROOT, env={**os.environ, **variables}).returncode)


if __name__ == "__main__":
    monai_env.enter()
    main()
