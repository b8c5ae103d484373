"""Segment cases with Ray: each actor holds a `segbundle worker`, which loads the model once.

Usage: python ray_cases.py --config_file configs/inference.json < cases.txt
       (one path per line; --actors N, --program SEGBUNDLE; other arguments are those of `segbundle worker`)
"""

import argparse
import json
import os
import subprocess
import sys

import ray


# If the actor or its worker is killed, Ray starts it again and repeats its case; `--skip-existing` keeps what is done.
@ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=3)
class Worker:
    def __init__(self, program, arguments, folder):
        self.process = subprocess.Popen(
            [program, "--threads", "1", "--skip-existing", "worker", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)

    def segment(self, image):
        try:
            self.process.stdin.write(json.dumps({"id": image, "image": image}) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            os._exit(1)
        return json.loads(answer)

    def pid(self):
        return self.process.pid


def segment(images, arguments, program="segbundle", actors=2, on_start=lambda workers: None):
    """Yields the answer for each image, in the order in which they are finished."""
    workers = [Worker.remote(program, arguments, os.getcwd()) for _ in range(actors)]
    on_start(workers)
    yield from ray.util.ActorPool(workers).map_unordered(lambda worker, image: worker.segment.remote(image), images)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--program", default="segbundle")
    args, arguments = parser.parse_known_args()
    images = [line.strip() for line in sys.stdin if line.strip()]
    failed = 0
    for answer in segment(images, arguments, args.program, args.actors):
        print(json.dumps(answer), flush=True)
        failed += answer["status"] == "failed"
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
