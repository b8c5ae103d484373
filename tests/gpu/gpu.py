"""The GPU day: checks before measurements, within a time limit. See run.sh.

Each step is a function that returns a row for the table: (name, verdict, figures). A failed step does not stop the
others; a step that would exceed the time limit is skipped and says so. The verdict of the script is that of its checks;
measurements have none.
"""
import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "benches"), os.path.join(ROOT, "tests", "parity")]

LIMIT_S = 540
LARGE = ((512, 512, 397), (0.84, 0.84, 1.5))
SMALL = ((122, 101, 112), (3.0, 3.0, 3.0))
# Voxels with another label than on the CPU, in percent: what the order of summation may change, and what float16 may.
WORST_FP32, WORST_FP16 = 0.001, 0.5


class Day:
    def __init__(self, args):
        self.args, self.began = args, time.monotonic()
        self.device = "cpu" if args.dry_run else "cuda:0"
        self.work = os.path.join(args.folder, "work")
        self.rows, self.weights = [], {}
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.work)

    def left(self):
        return LIMIT_S - (time.monotonic() - self.began)

    def step(self, name, seconds, run):
        """Run a step that is expected to take `seconds`."""
        if self.left() < seconds:
            row = {"step": name, "verdict": "skipped", "why": f"{self.left():.0f} s left, {seconds} s needed"}
        else:
            start = time.monotonic()
            try:
                row = {"step": name, "verdict": "measured", **run()}
            except Skipped as why:
                row = {"step": name, "verdict": "skipped", "why": str(why)}
            except (Exception, SystemExit) as error:  # the other steps go on
                row = {"step": name, "verdict": "FAILED", "why": str(error)[-2000:]}
            row["seconds"] = round(time.monotonic() - start, 1)
        self.rows.append(row)
        rest = {key: value for key, value in row.items() if key not in ("step", "verdict")}
        print(f"{name:<34}{row['verdict']:<10}{'  '.join(f'{key} {value}' for key, value in rest.items())}", flush=True)
        with open(os.path.join(self.args.out, "gpu.json"), "w", encoding="utf-8") as text:
            json.dump(self.rows, text, indent=1)

    # What the steps share

    def ct(self, grid):
        """A CT on `grid`, made from a phantom."""
        import compare

        path = os.path.join(self.work, f"ct-{grid[0][0]}.nii.gz")
        if not os.path.exists(path):
            compare.enlarged(self.phantom(), grid, path)
        return path

    def phantom(self):
        folder = os.path.join(self.work, "phantom")
        if not os.path.isdir(folder):
            import cases

            cases.sample_set(self.program, folder)
        return sorted(os.path.join(folder, "imagesTs", name) for name in os.listdir(os.path.join(folder, "imagesTs")))[0]

    def models(self):
        if not self.weights:
            import bundles

            config = os.path.join(ROOT, "configs", "inference.json")
            self.weights = {name: bundles.weights(config, {"highres": high}, seed, self.phantom())
                            for name, high, seed in (("model.pt", True, 0), ("model_lowres.pt", False, 1))}
        return self.weights

    def bundle(self, name):
        import bundles

        return bundles.make(os.path.join(self.work, name), os.path.join(ROOT, "configs"), self.models())

    def infer(self, name, ct, high, device, amp, options=()):
        """Run our inference; returns its bundle folder and figures."""
        folder = self.bundle(name)
        words = [self.program, "-v", *options, "run", "--config_file", "configs/inference.json", "--datalist", str([ct]),
                 "--highres", str(high), "--device", f"$torch.device('{device}')", "--evaluator#amp", str(amp)]
        memory = DeviceMemory(self.args.dry_run)
        start = time.perf_counter()
        log = run(words, folder)
        seconds = time.perf_counter() - start
        with open(os.path.join(folder, "eval", "run.json"), encoding="utf-8") as text:
            record = json.load(text)
        stages = {stage: round(value, 2) for stage, value in record["cases"][0]["seconds"].items()}
        figures = {"s": round(seconds, 2), "stages": stages, "GPU MiB": memory.stop(), "host MiB": record["peak_memory_bytes"] >> 20}
        return folder, figures, log

    def infer_monai(self, name, ct, high, amp):
        """Run MONAI's inference of the same config; returns its bundle folder and figures."""
        folder = self.bundle(name)
        job = {"bundle": folder, "config": "configs/inference.json", "margins": None, "report": os.path.join(folder, "report.json"),
               "overrides": {"datalist": [ct], "highres": high, "evaluator#amp": amp, "device": f"$torch.device('{self.device}')"}}
        with open(os.path.join(folder, "job.json"), "w", encoding="utf-8") as text:
            json.dump(job, text)
        memory = DeviceMemory(self.args.dry_run)
        run([sys.executable, os.path.join(ROOT, "tests", "parity", "monai_run.py"), os.path.join(folder, "job.json")], folder)
        with open(job["report"], encoding="utf-8") as text:
            report = json.load(text)
        return folder, {"s": round(report["seconds"], 2), "network s": round(report["network_seconds"], 2),
                        "windows": report["windows"], "GPU MiB": memory.stop()}


class Skipped(Exception):
    """A step that cannot run here."""


class DeviceMemory:
    """Largest memory in use on the GPU, polled; it includes what others use."""

    def __init__(self, off):
        self.peak, self.ended = None, threading.Event()
        self.thread = None if off else threading.Thread(target=self.poll, daemon=True)
        if self.thread:
            self.thread.start()

    def poll(self):
        words = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-lms", "100"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            self.peak = max(self.peak or 0, int(line.split()[0]))
            if self.ended.is_set():
                break
        process.terminate()

    def stop(self):
        self.ended.set()
        if self.thread:
            self.thread.join(2)
        return self.peak


def run(words, folder, env=None):
    """Run a command and return its output; a failure names the command and the end of its output."""
    done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})})
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {' '.join(map(str, words))}: {done.stdout[-1500:]}")
    return done.stdout


def differing(folders):
    """Percent of voxels with different labels in two bundles."""
    import compare

    return round(100 - compare.agreement(folders), 5)


# Checks

def version(day):
    """A relocated program finds the libtorch of this Python, and the GPU."""
    import torch

    lib = os.path.join(day.work, "program", "lib", "segbundle")
    os.makedirs(lib)
    os.makedirs(os.path.join(day.work, "program", "bin"))
    source = os.path.join(day.args.folder, "segbundle")
    source = source if os.path.exists(source) else os.path.join(ROOT, "target", "release", "segbundle")
    shutil.copy(source, day.program)
    packages = os.path.dirname(os.path.dirname(torch.__file__))
    for name in ("torch", "nvidia"):
        if os.path.isdir(os.path.join(packages, name)):
            os.symlink(os.path.join(packages, name), os.path.join(lib, name))
    text = run([day.program, "--version"], day.work)
    if not day.args.dry_run and "cuda" not in text.lower():
        raise RuntimeError(f"the program does not see the GPU: {text}")
    return {"verdict": "ok", "version": " | ".join(text.split("\n")[:6])}


def labels_small(day):
    """A small image: labels on the GPU against those on the CPU and MONAI's on the GPU."""
    ct = day.ct(SMALL)
    host, _, _ = day.infer("small-host", ct, False, "cpu", False)
    fp32, figures, _ = day.infer("small-fp32", ct, False, day.device, False)
    fp16, half, _ = day.infer("small-fp16", ct, False, day.device, True)
    monai, theirs = day.infer_monai("small-monai", ct, False, False)
    rows = {"fp32/CPU": differing([host, fp32]), "fp16/CPU": differing([host, fp16]), "fp32/MONAI": differing([monai, fp32])}
    good = rows["fp32/CPU"] <= WORST_FP32 and rows["fp16/CPU"] <= WORST_FP16 and rows["fp32/MONAI"] <= WORST_FP32
    return {"verdict": "ok" if good else "FAILED", "differing %": rows, "fp32": figures["s"], "fp16": half["s"], "MONAI": theirs["s"]}


def out_of_memory(day):
    """Little free memory: smaller batches, blending on the CPU, or an error with the figure; never a crash."""
    if day.args.dry_run:
        raise Skipped("needs the memory of a GPU")
    import torch

    answers = {}
    total = torch.cuda.get_device_properties(0).total_memory
    for left in (8 << 30, 3 << 30, 1 << 30):
        hog = "import torch,sys;x=torch.empty(int(sys.argv[1]),dtype=torch.uint8,device='cuda');print('held',flush=True);sys.stdin.read()"
        free = torch.cuda.mem_get_info(0)[0]
        process = subprocess.Popen([sys.executable, "-c", hog, str(max(free - left - (1 << 30), 1))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        try:
            _, _, log = day.infer("memory", day.ct(LARGE), True, day.device, False)
            answers[f"{left >> 30} GiB"] = "blended on the CPU" if "blended on the CPU" in log else "smaller batches" if "continuing with" in log else "fits"
        except RuntimeError as error:
            good = "does not fit into the memory" in str(error) or "out of memory" in str(error)
            answers[f"{left >> 30} GiB"] = "error with a figure" if good and "GiB" in str(error) else f"FAILED {error}"
        finally:
            process.kill()
            process.wait()
    bad = any("FAILED" in answer for answer in answers.values())
    return {"verdict": "FAILED" if bad else "ok", "of": f"{total >> 30} GiB", "left free": answers}


def training(day):
    """Iterations in float16 with the gradient scaler: losses and seconds against MONAI's."""
    import compare_training

    size, iterations = ("64", 3) if day.args.dry_run else ("110", 12)
    data = os.path.join(day.work, "train-data")
    run([day.program, "sample-data", "--output_dir", data, "--cases", "12", "--size", size, size, size, "--spacing", "3"], day.work)
    overrides = {"dataset_dir": data, "highres": False, "batch_size": 2, "val_interval": 1000000, "train#trainer#max_epochs": 1,
                 "train#trainer#epoch_length": iterations, "train#dataloader#num_workers": 1, "network_def#dropout_prob": 0.0,
                 "train#trainer#amp": True, "device": f"$torch.device('{day.device}')"}
    if day.args.dry_run:
        overrides |= {"network_def#init_filters": 8, "train#random_transforms#0#roi_size": [32, 32, 32], "validate#crop#roi_size": [32, 32, 32]}
    folder = os.path.join(day.work, "train-monai")
    os.makedirs(folder)
    job = {"bundle": folder, "config": os.path.join(ROOT, "configs", "train.json"), "overrides": overrides, "report": os.path.join(folder, "report.json")}
    with open(os.path.join(folder, "job.json"), "w", encoding="utf-8") as text:
        json.dump(job, text)
    memory = DeviceMemory(day.args.dry_run)
    run([sys.executable, os.path.join(ROOT, "tests", "parity", "monai_train.py"), os.path.join(folder, "job.json")], folder)
    theirs_mib = memory.stop()
    with open(job["report"], encoding="utf-8") as text:
        report = json.load(text)["iterations"]
    folder = os.path.join(day.work, "train-ours")
    os.makedirs(folder)
    words = [day.program, "-v", "run", "--config_file", job["config"], "--logging_file", "False"]
    for key, value in overrides.items():
        words += ["--" + key, str(value)]
    memory = DeviceMemory(day.args.dry_run)
    log = run(words, folder)
    ours = [float(x) for x in re.findall(r"train_loss: (\S+)", log)]
    theirs = [iteration["loss"] for iteration in report]
    worst = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs))
    # float16 rounds to 1e-3; the log prints four decimals
    good = len(ours) == len(theirs) == iterations and worst < (1e-3 if day.args.dry_run else 1e-2)
    return {"verdict": "ok" if good else "FAILED", "worst relative loss": f"{worst:.1e}",
            "s/iteration": round(statistics.median(compare_training.ours_seconds(log)), 3),
            "MONAI": round(statistics.median(i["seconds"] for i in report[1:]), 3), "GPU MiB": [memory.stop(), theirs_mib]}


def resume(day):
    """A training on this device that is killed and resumed ends with the same bits."""
    words = [sys.executable, os.path.join(ROOT, "tests", "stress", "kill_training.py"), day.program, "--kills", "2", "--interrupts", "1",
             "--device", day.device]
    return {"verdict": "ok", "last line": run(words, day.work).strip().split("\n")[-1]}


def one_rank(day):
    """One rank trains over NCCL (gloo in a dry run) as one process does."""
    config = os.path.join(ROOT, "configs", "multi_gpu_train.json")
    if not os.path.exists(config):
        raise Skipped("configs/multi_gpu_train.json does not exist")
    data = os.path.join(day.work, "train-data")
    losses = []
    for name, files, env in (
        ("rank-none", ["train.json"], {}),
        ("rank-one", ["train.json", "multi_gpu_train.json"],
         {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517"}),
    ):
        folder = os.path.join(day.work, name)
        os.makedirs(folder)
        paths = str([os.path.join(ROOT, "configs", file) for file in files])
        words = [day.program, "run", "--config_file", paths, "--logging_file", "False", "--dataset_dir", data, "--highres", "False",
                 "--network_def#dropout_prob", "0.0", "--network_def#init_filters", "8", "--train#trainer#epoch_length", "3", "--max_epochs", "1",
                 "--val_interval", "1000000", "--train#random_transforms#0#roi_size", "[32,32,32]", "--train#trainer#amp", "False"]
        losses.append([float(x) for x in re.findall(r"train_loss: (\S+)", run(words, folder, env))])
    good = len(losses[0]) == len(losses[1]) == 3
    return {"verdict": "ok" if good else "FAILED", "losses": losses}


# Measurements

def large(day, high):
    """A 512×512×397 image: float32 and float16 against MONAI in the same run, and against the CPU's labels."""
    ct = day.ct(SMALL if day.args.dry_run else LARGE)
    name = "high" if high else "low"
    fp16, ours16, _ = day.infer(f"{name}-16", ct, high, day.device, True)
    fp32, ours32, _ = day.infer(f"{name}-32", ct, high, day.device, False)
    monai, theirs = day.infer_monai(f"{name}-monai", ct, high, True)
    row = {"fp16": ours16, "fp32": ours32, "MONAI amp": theirs, "times faster": round(theirs["s"] / ours16["s"], 1),
           "differing % fp16/fp32": differing([fp16, fp32]), "fp16/MONAI": differing([fp16, monai])}
    if day.left() > 150:
        host, cpu, _ = day.infer(f"{name}-host", ct, high, "cpu", False)
        row |= {"CPU s": cpu["s"], "differing % fp32/CPU": differing([fp32, host])}
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=os.path.join(ROOT, "target", "gpu"))
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    args.folder = os.path.abspath(args.folder)
    args.out = os.environ.get("OUT") or os.path.join(args.folder, "results")
    os.makedirs(args.out, exist_ok=True)
    wheels = os.path.join(args.folder, "wheels")
    if os.path.isdir(wheels) and not args.dry_run:
        site = os.path.join(args.folder, "site")
        found = [os.path.join(wheels, name) for name in sorted(os.listdir(wheels))]
        run([sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--upgrade", "--target", site, *found], args.folder)
        sys.path.insert(0, site)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [site, os.environ.get("PYTHONPATH")]))
    os.environ["SEGBUNDLE_MONAI_PYTHON"] = sys.executable
    os.environ["XDG_CACHE_HOME"] = os.path.join(args.folder, "cache")
    day = Day(args)
    day.program = os.path.join(day.work, "program", "bin", "segbundle")
    day.step("program and libtorch", 5, lambda: version(day))
    day.step("labels of a small image", 60, lambda: labels_small(day))
    day.step("training in float16", 40, lambda: training(day))
    day.step("killed and resumed", 60, lambda: resume(day))
    day.step("one rank", 30, lambda: one_rank(day))
    day.step("512x512x397 at 3 mm", 60, lambda: large(day, False))
    day.step("512x512x397 at 1.5 mm", 120, lambda: large(day, True))
    day.step("memory runs out", 60, lambda: out_of_memory(day))
    failed = [row["step"] for row in day.rows if row["verdict"] == "FAILED"]
    print(f"{len(day.rows)} steps in {LIMIT_S - day.left():.0f} s, failed: {', '.join(failed) or 'none'}; {args.out}/gpu.json")
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
