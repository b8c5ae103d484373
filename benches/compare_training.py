#!/usr/bin/env python3
"""Compare iteration time and peak memory of training in MONAI and segbundle; `make bench` runs this last.

    python3 benches/compare_training.py [--iterations 4] [--batch 2] [--bf16]

Both train the network of the whole-body bundle on 96³ crops of the sample data at 3 mm, without validation (the unmodified
train.json if ../shared exists, else the one of this repository). Time is the median from the start of an iteration, when
its batch is available, to its metrics, excluding the first iteration. Memory is VmHWM of the training process (excluding
MONAI's loader processes favors MONAI).
"""
import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

import compare
import monai_env


def ours_seconds(log):
    """Return the seconds of each iteration but the first, from the timestamps of the log."""
    def time(text):
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))

    starts = [time(t) for t in re.findall(r"^(\S+) +DEBUG iteration ", log, re.M)]
    ends = [time(t) for t in re.findall(r"^(\S+) +INFO Epoch: \d+/\d+, Iter: ", log, re.M)]
    return [(end - start).total_seconds() for start, end in zip(starts, ends)][1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="also run segbundle with --amp-dtype bfloat16")
    args = parser.parse_args()
    monai_env.enter()
    import cases

    binary = os.path.abspath(os.environ.get("SEGBUNDLE_BINARY") or os.path.join(compare.ROOT, "target", "release", "segbundle"))
    upstream = os.path.join(cases.UPSTREAM, "configs", "train.json")
    config = upstream if os.path.isfile(upstream) else os.path.join(compare.ROOT, "configs", "train.json")
    print(compare.machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="segbundle-bench-") as work:
        data = os.path.join(work, "data")
        subprocess.run([binary, "sample-data", "--output_dir", data, "--cases", str(12), "--size", "110", "110", "110", "--spacing", "3"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pairs = "$[{'image': i, 'label': l} for i, l in zip(@images, @labels)]"
        overrides = {"dataset_dir": data, "displayable_configs#highres": False, "batch_size": args.batch, "val_interval": 1000000,
                     "train#dataset#data": pairs, "train#trainer#max_epochs": 1, "train#trainer#epoch_length": args.iterations,
                     "train#dataloader#num_workers": 1}
        folder = os.path.join(work, "monai")
        os.makedirs(folder)
        job = {"bundle": folder, "config": config, "overrides": overrides, "report": os.path.join(folder, "report.json")}
        with open(os.path.join(folder, "job.json"), "w", encoding="utf-8") as text:
            json.dump(job, text)
        script = os.path.join(compare.ROOT, "tests", "parity", "monai_train.py")
        _, peaks = compare.measured([sys.executable, script, os.path.join(folder, "job.json")], folder, os.path.join(folder, "log"))
        with open(job["report"], encoding="utf-8") as text:
            report = json.load(text)
        theirs = statistics.median(i["seconds"] for i in report["iterations"][1:])
        memory = next(iter(peaks.values()))
        print(f"{'':<14}{'s/iteration':>12}{'ratio':>7}{'MiB':>8}{'ratio':>7}  losses", flush=True)
        print(f"{'MONAI':<14}{theirs:>12.1f}{'':>7}{memory:>8.0f}{'':>7}  {[round(i['loss'], 4) for i in report['iterations']]}", flush=True)
        for name, options in [("float32", []), ("bfloat16", ["--amp-dtype", "bfloat16"])][:1 + args.bf16]:
            folder = os.path.join(work, name)
            os.makedirs(folder)
            words = [binary, "-v", *options, "run", "--config_file", config, "--logging_file", "False"]
            for key, value in overrides.items():
                words += ["--" + key, str(value)]
            _, peaks = compare.measured(words, folder, os.path.join(folder, "log"))
            with open(os.path.join(folder, "log"), encoding="utf-8") as text:
                log = text.read()
            ours, used = statistics.median(ours_seconds(log)), sum(peaks.values())
            losses = [float(x) for x in re.findall(r"train_loss: (\S+)", log)]
            print(f"{name:<14}{ours:>12.1f}{theirs / ours:>6.1f}x{used:>8.0f}{memory / used:>6.1f}x  {losses}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
