#!/usr/bin/env python3
"""Compare time and peak memory of inference in MONAI and segbundle; `make bench` runs this after the criterion benches.

    python3 benches/compare.py [--rows small-low,large-low] [--repeat N] [--bf16]

MONAI's time is measured within its process (config, weights, all cases; without imports); segbundle's time is that of
the whole process from exec to exit. Memory is VmHWM, including shared pages: for MONAI the main process only (excluding
its loader process favors MONAI), for segbundle the sum over all processes. Both alternate and run the unmodified
whole-body bundle if ../shared exists, else the configs of this repository, with the same seeded weights; the CTs are
enlarged copies of one CT with noise. `large-high` exceeds the memory of most machines in MONAI: its time is extrapolated
from `small-high`, which gives a lower bound.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(ROOT, "tests", "parity"))
import monai_env  # noqa: E402

LARGE = ((512, 512, 397), (0.84, 0.84, 1.5))
SMALL = ((122, 101, 112), (3.0, 3.0, 3.0))
# name: (shape and spacing of the CT, whether at 1.5 mm)
ROWS = {"small-low": (SMALL, False), "small-high": (SMALL, True), "large-low": (LARGE, False), "large-high": (LARGE, True)}
DEFAULT_ROWS = "small-low,small-high,large-low"
POLL_S = 0.02


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default=DEFAULT_ROWS, help=f"comma-separated rows to run, in order: {', '.join(ROWS)} (default: {DEFAULT_ROWS})")
    parser.add_argument("--repeat", type=int, default=1, help="number of runs of each program; medians are shown")
    parser.add_argument("--bf16", action="store_true", help="also run segbundle with --amp-dtype bfloat16")
    args = parser.parse_args()
    args.rows = args.rows.split(",")
    unknown = [row for row in args.rows if row not in ROWS]
    if unknown:
        parser.error(f"unknown row {', '.join(unknown)}: expected one of {', '.join(ROWS)}")
    return args


def enlarged(source, grid, path):
    """Write a copy of CT `source` on a grid of (shape, spacing in mm), LAS, int16, with 12 HU of seeded noise."""
    import nibabel as nib
    import numpy as np
    import torch

    shape, spacing = grid
    voxels = torch.from_numpy(np.asarray(nib.load(source).dataobj, dtype=np.float32))[None, None]
    voxels = torch.nn.functional.interpolate(voxels, size=shape, mode="trilinear", align_corners=True)[0, 0]
    noise = torch.Generator().manual_seed(0)
    for k in range(shape[2]):
        voxels[:, :, k] += 12 * torch.randn(shape[:2], generator=noise)
    affine = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
    affine[:3, 3] = [(n - 1) * mm / 2 * sign for n, mm, sign in zip(shape, spacing, (1, -1, -1))]
    image = nib.Nifti1Image(voxels.round().clamp(-1024, 3071).to(torch.int16).numpy(), affine)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)


def cached_ct(source, grid):
    """Return the path of the enlarged CT, created on first use."""
    from bundles import content, sha256

    key = sha256(content(source), str(grid), content(os.path.abspath(__file__)))[:16]
    folder = monai_env.cache_folder("bench")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"ct-{grid[0][0]}-{key}.nii.gz")
    if not os.path.exists(path):
        partial = os.path.join(folder, f"partial-{os.getpid()}.nii.gz")
        enlarged(source, grid, partial)
        os.replace(partial, path)
    return path


def tree(root):
    """Return the ids of process `root` and all its descendants."""
    out = [root]
    for pid in out:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as text:
                    out += [int(child) for child in text.read().split()]
        except OSError:
            pass
    return out


class Failed(SystemExit):
    """A command failed with an exit code; the message has the end of its output."""

    def __init__(self, exit_code, message):
        super().__init__(message)
        self.exit_code = exit_code


def measured(words, cwd, log):
    """Run a command; return seconds from exec to exit, and {pid: VmHWM in MiB}, starting with the process itself."""
    peaks = {}
    with open(log, "w", encoding="utf-8") as out:
        start = time.perf_counter()
        process = subprocess.Popen(words, cwd=cwd, stdout=out, stderr=subprocess.STDOUT)
        peaks[process.pid] = 0.0
        while process.poll() is None:
            for pid in tree(process.pid):
                try:
                    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as text:
                        kib = [int(line.split()[1]) for line in text if line.startswith("VmHWM:")]
                except OSError:
                    kib = []
                if kib:
                    peaks[pid] = max(peaks.get(pid, 0.0), kib[0] / 1024)
            try:
                process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                pass
        seconds = time.perf_counter() - start
    if process.returncode:
        with open(log, encoding="utf-8", errors="replace") as text:
            raise Failed(process.returncode, f"exit code {process.returncode}: {' '.join(words)}\n{text.read()[-3000:]}")
    return seconds, peaks


def run_monai(bundle, ct, high):
    """Return (seconds, MiB, report)."""
    job = {"bundle": bundle, "config": "configs/inference.json", "margins": None, "report": os.path.join(bundle, "report.json"),
           "overrides": {"datalist": [ct], "displayable_configs#highres": high}}
    with open(os.path.join(bundle, "job.json"), "w", encoding="utf-8") as text:
        json.dump(job, text)
    script = os.path.join(ROOT, "tests", "parity", "monai_run.py")
    _, peaks = measured([sys.executable, script, os.path.join(bundle, "job.json")], bundle, os.path.join(bundle, "log"))
    with open(job["report"], encoding="utf-8") as text:
        report = json.load(text)
    return report["seconds"], next(iter(peaks.values())), report


def run_ours(binary, bundle, ct, high, options=()):
    """Return (seconds, MiB)."""
    words = [binary, *options, "run", "--config_file", "configs/inference.json", "--datalist", str([ct]),
             "--displayable_configs#highres", str(high)]
    seconds, peaks = measured(words, bundle, os.path.join(bundle, "log"))
    return seconds, sum(peaks.values())


def agreement(folders):
    """Return the percentage of equal voxels in the only saved file of each bundle."""
    import maps
    import nibabel as nib
    import numpy as np

    saved = [[path for path in maps.saved_files(os.path.join(folder, "eval")) if path.endswith(".nii.gz")] for folder in folders]
    if saved[0] != saved[1] or len(saved[0]) != 1:
        raise SystemExit(f"the two saved {saved[0]} and {saved[1]}")
    theirs, ours = (np.asarray(nib.load(os.path.join(folder, "eval", saved[0][0])).dataobj) for folder in folders)
    return 100 * float((theirs.astype(np.uint8) == ours.astype(np.uint8)).mean())


def machine():
    """Describe this machine in one line."""
    with open("/proc/cpuinfo", encoding="utf-8") as text:
        models = [line.split(":", 1)[1].strip() for line in text if line.startswith("model name")]
    load = os.getloadavg()[0]
    busy = f"; load {load:.1f} before the start, so times are not to be trusted" if load > 0.5 else ""
    return f"{models[0] if models else 'unknown processor'}, {len(os.sched_getaffinity(0))} threads{busy}"


def extrapolated(reports, windows):
    """Extrapolate MONAI's seconds for `windows` windows at 1.5 mm from its small run, with constant time outside the network."""
    small = reports.get("small-high")
    if small is None:
        return None
    return small["network_seconds"] / small["windows"] * windows + small["seconds"] - small["network_seconds"]


def main():
    args = parse_args()
    monai_env.enter()
    import bundles
    import cases

    binary = os.path.abspath(os.environ.get("SEGBUNDLE_BINARY") or os.path.join(ROOT, "target", "release", "segbundle"))
    if not os.access(binary, os.X_OK):
        sys.exit(f"{binary} does not exist; run `make build` first")
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="segbundle-bench-") as work:
        source = cases.real("lung") or cases.sample_set(binary, os.path.join(work, "sample"))[0]
        upstream = os.path.join(cases.UPSTREAM, "configs")
        configs = upstream if os.path.isdir(upstream) else os.path.join(ROOT, "configs")
        inference = os.path.join(configs, "inference.json")
        models = {"model.pt": bundles.weights(inference, {}, 0, source),
                  "model_lowres.pt": bundles.weights(inference, {"displayable_configs#highres": False}, 1, source)}
        print(f"{'row':<12}{'windows':>8}{'MONAI s':>10}{'ours s':>9}{'ratio':>7}{'MONAI MiB':>11}{'ours MiB':>10}{'ratio':>7}"
              f"{'same %':>11}" + (f"{'bf16 s':>9}{'ratio':>7}" if args.bf16 else ""), flush=True)
        reports = {}
        for row in args.rows:
            grid, high = ROWS[row]
            ct = cached_ct(source, grid)
            folders = [bundles.make(os.path.join(work, side), configs, models) for side in ("monai", "segbundle")]
            theirs, ours, fast = [], [], []
            for _ in range(args.repeat):
                if row != "large-high":
                    theirs.append(run_monai(folders[0], ct, high))
                    reports[row] = theirs[-1][2]
                ours.append(run_ours(binary, folders[1], ct, high))
            same = agreement(folders) if theirs else None
            if args.bf16:
                fast = [run_ours(binary, folders[1], ct, high, ("--amp-dtype", "bfloat16")) for _ in range(args.repeat)]
            show(row, theirs, ours, fast, same, reports)
    return 0


def show(row, theirs, ours, fast, same, reports):
    """Print one row of medians and ratios, with dashes for missing measurements."""
    def middle(runs, at):
        return statistics.median(run[at] for run in runs) if runs else None

    def cell(value, width, digits=1, after=""):
        return f"{'-' if value is None else f'{value:.{digits}f}{after}':>{width}}"

    def ratio(a, b, width=7):
        return cell(a / b if a and b else None, width, 1, "x")

    windows = reports[row]["windows"] if row in reports else 96
    seconds, mib = middle(theirs, 0), middle(theirs, 1)
    note = ""
    if row == "large-high":
        seconds = extrapolated(reports, windows)
        note = "  MONAI extrapolated from small-high" if seconds else "  (run small-high first to extrapolate MONAI's time)"
    line = f"{row:<12}{windows:>8}" + cell(seconds, 10) + cell(middle(ours, 0), 9) + ratio(seconds, middle(ours, 0))
    line += cell(mib, 11, 0) + cell(middle(ours, 1), 10, 0) + ratio(mib, middle(ours, 1)) + cell(same, 11, 5)
    if fast:
        line += cell(middle(fast, 0), 9) + ratio(seconds, middle(fast, 0))
    print(line + note, flush=True)


if __name__ == "__main__":
    sys.exit(main())
