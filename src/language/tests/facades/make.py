"""Evaluates the expressions in the given files with Python, NumPy, torch and MONAI, and writes the results.

    python make.py numpy.txt torch.txt modules.txt monai.txt

An array is written as `array(LIST, dtype=NAME)`, a tensor as `tensor(LIST, dtype=torch.NAME)`.
Made with Python 3.11, NumPy 2.4.6, torch 2.11.0 and MONAI 1.6.1.
"""

import collections, copy, datetime, functools, glob, json, logging, math, os, pathlib, sys  # noqa: E401, F401
from pathlib import Path  # noqa: F401

import monai
import numpy as np
import torch
import torch.distributed as dist  # noqa: F401


def digits(values, dtype):
    """Floats of 32 bits by their shortest digits, all others exactly."""
    if isinstance(values, list):
        return [digits(value, dtype) for value in values]
    return float(str(np.float32(values))) if dtype.endswith("float32") else values


def shown(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return f"array({digits(value.tolist(), value.dtype.name)!r}, dtype={value.dtype.name})"
    if isinstance(value, torch.Tensor):
        return f"tensor({digits(value.tolist(), str(value.dtype))!r}, dtype={value.dtype})"
    if type(value) is list:
        return "[" + ", ".join(map(shown, value)) + "]"
    if type(value) is tuple:
        return "(" + ", ".join(map(shown, value)) + ("," if len(value) == 1 else "") + ")"
    if type(value) is dict:
        return "{" + ", ".join(f"{shown(key)}: {shown(item)}" for key, item in value.items()) + "}"
    return repr(value)


for name in sys.argv[1:]:
    with open(name, encoding="utf8") as file:
        lines = file.read().splitlines()
    with open(name, "w", encoding="utf8") as file:
        for line in lines:
            text, arrow, _ = line.partition(" => ")
            print(f"{text} => {shown(eval(text))}" if arrow else line, file=file)
