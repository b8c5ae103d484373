#!/usr/bin/env python3
"""Stress test of `--resume`: a training is killed by SIGKILL at random times and resumed. The results must be
byte-identical to those of an uninterrupted training.

Usage: python3 tests/stress/kill_training.py [SEGBUNDLE] [--kills 20] [--interrupts 5] [--seed 1] [--device cpu]

The training is configs/train.json on a small sample set with a small network, dropout, four workers, validation every
other epoch, and saving the best weights. Kills occur at any time (filling the cache, steps, validation, writing);
interrupts (SIGINT) save in the middle of an epoch. Checked after every kill: files with final names can be read.
Checked at the end: saved training state and best weights are byte-identical to those of the uninterrupted run, and no
temporary file is left. Requires only Python's standard library.
"""
import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OVERRIDES = {
    "dataset_dir": "data", "highres": "False", "batch_size": "2", "max_epochs": "4", "val_interval": "2", "val_cases": "2",
    "network_def#init_filters": "8", "network_def#blocks_down": "[1,1]", "network_def#blocks_up": "[1]",
    "train#random_transforms#0#roi_size": "[32,32,32]", "validate#crop#roi_size": "[64,64,64]",
    "validate#inferer#roi_size": "[32,32,32]",
}


def start(program, folder, out):
    command = [program, "--resume", "--threads", "1", "run", "--config_file", os.path.join(ROOT, "configs", "train.json"), "--logging_file", "False",
               "--bundle_root", out]
    for key, value in OVERRIDES.items():
        command += ["--" + key, value]
    with open(f"{folder}/{out}.log", "ab") as log:
        return subprocess.Popen(command, cwd=folder, stderr=log)


def files(folder, out):
    return [os.path.join(where, name) for where, _, names in os.walk(f"{folder}/{out}") for name in names]


def check_whole(folder, out):
    """Checkpoints under their final names are complete."""
    for path in files(folder, out):
        if path.endswith(".pt") and ".partial-" not in path and os.path.basename(path) != "next.pt":
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None, path


def content(path):
    with open(path, "rb") as file:
        return file.read()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?", default="target/release/segbundle")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--interrupts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    OVERRIDES["device"] = f"$torch.device('{args.device}')"
    program, rng = os.path.abspath(args.program), random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, "sample-data", "--output_dir", "data", "--cases", "9", "--size", "64", "64", "64", "--spacing", "6"],
                       cwd=folder, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        began = time.time()
        assert start(program, folder, "whole").wait() == 0, content(f"{folder}/whole.log").decode()[-2000:]
        whole_s = time.time() - began
        signals = [signal.SIGKILL] * args.kills + [signal.SIGINT] * args.interrupts
        rng.shuffle(signals)
        hit, runs = {signal.SIGKILL: 0, signal.SIGINT: 0}, 0
        while signals:
            child = start(program, folder, "out")
            runs += 1
            try:
                code = child.wait(rng.uniform(0.05, whole_s * 0.6))
                assert code == 0, (code, content(f"{folder}/out.log").decode()[-2000:])
                # The training is complete: start the next one from scratch.
                subprocess.run(["rm", "-rf", f"{folder}/out"], check=True)
                continue
            except subprocess.TimeoutExpired:
                kind = signals.pop()
                child.send_signal(kind)
                code = child.wait()
            assert code in (-kind, 130, 0), (code, kind)
            hit[kind] += 1
            check_whole(folder, "out")
        code = start(program, folder, "out").wait()
        assert code == 0, content(f"{folder}/out.log").decode()[-2000:]
        check_whole(folder, "out")
        for name in ["models/resume/state.pt", "models/model_lowres.pt"]:
            whole, own = (content(f"{folder}/{out}/{name}") for out in ("whole", "out"))
            assert whole == own, f"{name} differs from the uninterrupted run's"
        left = [path for path in files(folder, "out") if ".partial-" in path or path.endswith("next.pt")]
        assert not left, left
        resumed = content(f"{folder}/out.log").decode().count("resumed from epoch")
        print(f"{hit[signal.SIGKILL]} kills and {hit[signal.SIGINT]} interrupts in {runs + 1} runs, {resumed} of which resumed from a saved state:")
        print(f"saved state and best weights equal those of the uninterrupted run ({whole_s:.1f} s)")


if __name__ == "__main__":
    sys.exit(main())
