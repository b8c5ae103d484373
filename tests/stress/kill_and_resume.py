#!/usr/bin/env python3
"""Stress test of `--skip-existing`: a run of 200 cases, 20 of them faulty, is killed by SIGKILL at random times and
restarted. The results must equal those of an uninterrupted run.

Usage: python3 tests/stress/kill_and_resume.py [SEGBUNDLE] [--cases 200] [--faulty 20] [--kills 30] [--seed 1]

Checked after every kill: files with final names are complete (each gzip file can be read to its end), run.json is
valid. Checked at the end: every valid case has one result, byte-identical to that of the uninterrupted run; each was
computed once (later runs skip it after its record is written); every faulty case is reported with its file; the counts
in run.json are correct; no temporary file is left. Requires only Python's standard library.
"""
import argparse
import gzip
import hashlib
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time

CONFIG = {
    "imports": ["$import glob"],
    "output_dir": "out",
    "datalist": "$sorted(glob.glob('images/*.nii*'))",
    "device": "$torch.device('cpu')",
    "network_def": {"_target_": "SegResNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 4, "init_filters": 8,
                    "blocks_down": [1, 1], "blocks_up": [1]},
    "network": "$@network_def.to(@device)",
    "preprocessing": {"_target_": "Compose", "transforms": [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [2.0, 2.0, 2.0], "mode": "bilinear"},
        {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True}]},
    "dataset": {"_target_": "Dataset", "data": "$[{'image': i} for i in @datalist]", "transform": "@preprocessing"},
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "num_workers": 2},
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.25, "mode": "gaussian"},
    "postprocessing": {"_target_": "Compose", "transforms": [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"},
        {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "output_dtype": "uint8"}]},
    "evaluator": {"_target_": "SupervisedEvaluator", "device": "@device", "val_data_loader": "@dataloader",
                  "network": "@network", "inferer": "@inferer", "postprocessing": "@postprocessing"},
    "initialize": ["$monai.utils.set_determinism(seed=1)"],
    "run": ["$@evaluator.run()"],
}
SIZE = 24


def nifti(rng, size=SIZE, datatype=4, dim0=3):
    """A NIfTI-1 file with size³ int16 voxels of 1.5 mm."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, dim0, size, size, size, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, datatype, 16)
    struct.pack_into("<8f", header, 76, 1, 1.5, 1.5, 1.5, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    struct.pack_into("<2h", header, 252, 0, 1)
    for row, axis in enumerate([(-1.5, 0, 0, 20), (0, 1.5, 0, -10), (0, 0, 1.5, 5)]):
        struct.pack_into("<4f", header, 280 + 16 * row, *axis)
    header[344:348] = b"n+1\0"
    center = [rng.uniform(0.3, 0.7) * size for _ in range(3)]
    voxels = [int(900 - 60 * ((x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2) ** 0.5) + rng.randrange(-50, 50)
              for z in range(size) for y in range(size) for x in range(size)]
    return bytes(header) + struct.pack(f"<{len(voxels)}h", *voxels)


def faults(rng):
    """Contents of faulty files; None for a dangling link."""
    good = nifti(rng)
    packed = gzip.compress(good, 1)
    wrong_sum = bytearray(packed)
    wrong_sum[-5] ^= 0xFF
    nan = bytearray(good)
    struct.pack_into("<f", nan, 280, float("nan"))
    huge = bytearray(good)
    struct.pack_into("<3h", huge, 42, 32767, 32767, 32767)
    complex_ = bytearray(good)
    struct.pack_into("<2h", complex_, 70, 32, 64)
    yield from [b"", packed[: len(packed) // 2], bytes(wrong_sum), b"this is no image", gzip.compress(bytes(huge), 1),
                gzip.compress(bytes(nan), 1), gzip.compress(bytes(complex_), 1), gzip.compress(good[:200], 1),
                gzip.compress(good[:5000], 1), None]


def prepare(folder, cases, faulty, rng):
    os.makedirs(f"{folder}/images")
    with open(f"{folder}/config.json", "w") as file:
        json.dump(CONFIG, file)
    bad = set(rng.sample(range(cases), faulty))
    ways = []
    for case in range(cases):
        path = f"{folder}/images/s{case:04}.nii.gz"
        if case not in bad:
            with open(path, "wb") as file:
                file.write(gzip.compress(nifti(rng), 1))
            continue
        ways = ways or list(faults(rng))
        content = ways.pop(0)
        if content is None:
            os.symlink("nowhere.nii.gz", path)
        else:
            with open(path, "wb") as file:
                file.write(content)
    return {f"images/s{case:04}.nii.gz" for case in bad}


def start(program, folder, out, resume=True):
    command = [program] + (["--skip-existing"] if resume else []) + ["run", "--config_file", "config.json", "--meta_file", "None",
               "--output_dir", out, "--logging_file", "False"]
    log = open(f"{folder}/{out}.log", "ab")
    return subprocess.Popen(command, cwd=folder, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})


def results(folder, out):
    found = {}
    for where, _, names in os.walk(f"{folder}/{out}"):
        for name in names:
            path = os.path.join(where, name)
            found[os.path.relpath(path, f"{folder}/{out}")] = path
    return found


def check_whole(folder, out):
    """Check that all files with final names are complete."""
    for name, path in results(folder, out).items():
        if ".partial-" in name:
            continue
        with open(path, "rb") as file:
            content = file.read()
        if name.endswith(".nii.gz"):
            assert len(gzip.decompress(content)) == 352 + SIZE**3, name
        elif name.endswith(".json"):
            json.loads(content)


def digests(folder, out):
    found = {}
    for name, path in results(folder, out).items():
        if name.endswith(".nii.gz"):
            with open(path, "rb") as file:
                found[name] = hashlib.sha256(file.read()).hexdigest()
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?", default="target/release/segbundle")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--faulty", type=int, default=20)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    program, rng = os.path.abspath(args.program), random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        bad = prepare(folder, args.cases, args.faulty, rng)
        began = time.time()
        assert start(program, folder, "whole", resume=False).wait() == (1 if bad else 0)
        whole_s = time.time() - began
        network_s = sum(case["seconds"]["inferer"] for case in json.load(open(f"{folder}/whole/run.json"))["cases"])
        expected = digests(folder, "whole")
        assert len(expected) == args.cases - args.faulty

        kills, runs, began, killed_with = 0, 0, time.time(), []
        first_seen = {}
        while True:
            child = start(program, folder, "out")
            runs += 1
            if kills < args.kills:
                # From before the first case to about ten cases in a run.
                pause = rng.uniform(0.02, 0.6 + 2.5 * whole_s / args.kills)
                try:
                    child.wait(pause)
                except subprocess.TimeoutExpired:
                    pass
                child.send_signal(signal.SIGKILL)
                code = child.wait()
                kills += 1
                check_whole(folder, "out")
                for name, path in results(folder, "out").items():
                    # A result is never written again after its record exists.
                    if name.endswith(".nii.gz") and os.path.exists(path + ".json"):
                        changed = os.stat(path).st_mtime_ns
                        assert first_seen.setdefault(name, changed) == changed, f"{name} was computed twice"
                killed_with.append(len(first_seen) if code < 0 else -1)
                continue
            code = child.wait()
            break
        total_s = time.time() - began
        assert code == 1, code
        check_whole(folder, "out")
        for name, changed in first_seen.items():
            assert os.stat(f"{folder}/out/{name}").st_mtime_ns == changed, f"{name} was computed twice"
        assert digests(folder, "out") == expected, "results differ from the uninterrupted run's"
        left = [name for name in results(folder, "out") if ".partial-" in name]
        assert not left, left
        record = json.load(open(f"{folder}/out/run.json"))
        reported = {case["input"] for case in record["cases"] if case["status"] == "failed"}
        assert reported == bad, (reported ^ bad)
        assert all(case["error"]["message"] and case["input"] in case["error"]["file"] for case in record["cases"] if case["status"] == "failed")
        counts = record["counts"]
        assert counts["done"] + counts["skipped"] == args.cases - args.faulty and counts["failed"] == args.faulty and counts["not_started"] == 0
        log = open(f"{folder}/out.log").read()
        assert all(name in log for name in bad)
        cleared = log.count("half-written")
        live = [count for count in killed_with if count >= 0]
        print(f"{args.cases} cases, {args.faulty} faulty: {kills} kills ({len(live)} while it ran; results at those moments {live}),")
        print(f"{len(expected)} results as in the uninterrupted run, none computed twice, {len(bad)} faults reported, run.json {counts},")
        print(f"partial files removed at {cleared} starts; uninterrupted {whole_s:.1f} s (of which network {network_s:.1f} s), all {runs} runs {total_s:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
