"""Make reports.npz: the CSV files of MONAI's write_metrics_reports for random values.

    python make_reports.py reports.npz          # MONAI 1.6.1, NumPy 2.4.6

For each case: rows [cases, classes] float32 with NaN, and the bytes of the raw and the summary file.
"""
import os
import sys
import tempfile
import warnings

import numpy as np
from monai.handlers.utils import write_metrics_reports

OPS = ["mean", "median", "max", "min", "90percentile", "std", "notnans", "5percentile"]


def values(rng, cases, classes):
    rows = rng.random((cases, classes), dtype=np.float32) ** rng.integers(1, 12, (cases, classes))
    rows[rng.random(rows.shape) < 0.2] = np.nan
    return rows.astype(np.float32)


def main():
    rng = np.random.default_rng(0)
    tables = {"few": values(rng, 4, 3), "classes": values(rng, 9, 105), "cases": values(rng, 300, 5), "one": values(rng, 1, 7)}
    tables["few"][:, 1] = np.nan
    tables["classes"][2] = np.nan
    tables["distances"] = values(rng, 5, 6)
    tables["distances"][[0, 3, 4], [1, 1, 2]] = np.inf
    tables["distances"][:, 5] = np.inf
    tables["distance"] = np.array([[np.inf, 1.5, np.nan]], np.float32)
    arrays = {}
    warnings.simplefilter("ignore")
    for name, rows in tables.items():
        with tempfile.TemporaryDirectory() as folder:
            images = [f"case {number}" for number in range(len(rows))]
            write_metrics_reports(folder, images, {}, {"m": rows.copy()}, OPS, ",")
            arrays[f"{name}/rows"] = rows
            for kind in ("raw", "summary"):
                with open(os.path.join(folder, f"m_{kind}.csv"), "rb") as file:
                    arrays[f"{name}/{kind}"] = np.frombuffer(file.read(), np.uint8)
    np.savez_compressed(sys.argv[1], **arrays)


if __name__ == "__main__":
    main()
