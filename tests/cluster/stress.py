#!/usr/bin/env python3
"""Stress test of the examples for Ray and Slurm on small cases: every case is done once, with the results of one run.

Usage: python3 tests/cluster/stress.py (ray | slurm) [SEGBUNDLE] [--cases 200] [--seed 1]
`ray` needs Python's package ray; one of its two workers is killed in the middle. `slurm` needs a cluster that accepts
`sbatch`, with the program under its path on each node; one task of the array is cancelled and submitted again.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent / "stress")]
import kill_and_resume  # noqa: E402

ARGUMENTS = ["--config_file", "config.json", "--meta_file", "None", "--logging_file", "False"]


def with_ray(program, images):
    import ray
    import ray_cases

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    killed = []

    def start(workers):
        killed.append(ray.get(workers[0].pid.remote()))

    answers = []
    for answer in ray_cases.segment(images, ARGUMENTS + ["--output_dir", "out"], program, on_start=start):
        answers.append(answer)
        if len(answers) == len(images) // 3:
            os.kill(killed[0], signal.SIGKILL)
    ray.shutdown()
    assert sorted(answer["id"] for answer in answers) == images, "not every case was answered once"
    statuses = {answer["status"] for answer in answers}
    assert statuses <= {"done", "skipped"}, statuses
    skipped = sum(answer["status"] == "skipped" for answer in answers)
    return f"one of two workers was killed; {len(answers)} answers, {skipped} of cases that the killed worker had written"


def with_slurm(program):
    path = {"PATH": f"{pathlib.Path(program).parent}:{os.environ['PATH']}"}

    def submit(*options):
        command = ["sbatch", "--parsable", *options, str(HERE / "slurm.sh"), *ARGUMENTS, "--output_dir", "out"]
        text = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **path}).stdout
        return text.strip().split(";")[0]

    def wait(job):
        while subprocess.run(["squeue", "-h", "-j", job], capture_output=True, text=True).stdout.strip():
            time.sleep(0.5)

    def merge():
        return subprocess.run([program, "merge-runs", "out"], capture_output=True, text=True)

    job = submit()
    while not os.path.exists("out/run.part-5-of-8.json"):
        time.sleep(0.02)
    subprocess.run(["scancel", "--signal=KILL", f"{job}_5"], check=True)
    wait(job)
    first = merge()
    wait(submit("--array=5"))
    last = merge()
    assert last.returncode == 0, last.stderr
    assert "of 8 parts are not complete: part 5 " in first.stderr, first.stderr
    return "one of 8 tasks was killed, named by merge-runs, and submitted again"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=["ray", "slurm"])
    parser.add_argument("program", nargs="?", default="target/release/segbundle")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    program = os.path.abspath(args.program)
    with tempfile.TemporaryDirectory() as folder:
        kill_and_resume.prepare(folder, args.cases, 0, random.Random(args.seed))
        os.chdir(folder)
        whole = kill_and_resume.start(program, folder, "whole", resume=False)
        assert whole.wait() == 0, "the run for comparison failed"
        images = sorted(f"images/{name}" for name in os.listdir("images"))
        began = time.time()
        text = with_ray(program, images) if args.engine == "ray" else with_slurm(program)
        seconds = time.time() - began
        assert kill_and_resume.digests(folder, "out") == kill_and_resume.digests(folder, "whole"), "other results"
        if args.engine == "slurm":
            with open("out/run.json") as file:
                counts = json.load(file)["counts"]
            assert counts["done"] + counts["skipped"] == counts["total"] == args.cases, counts
            text += f"; then {counts}"
        print(f"{args.engine}: {args.cases} cases in {seconds:.0f} s, all results equal to those of one run; {text}")


if __name__ == "__main__":
    main()
