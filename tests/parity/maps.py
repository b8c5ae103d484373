"""Comparison of saved files."""
import os
from dataclasses import dataclass, field

import nibabel as nib
import numpy as np

MIN_AGREEMENT = 0.99999
MAX_MARGIN = 1e-3
# Tolerance for linearly inverted probabilities, which both programs compute in f32.
MAX_PROBABILITY_DIFFERENCE = 1e-4


@dataclass
class Verdict:
    """Result of comparing a case; `problems` is empty if both files agree."""
    voxels: int = 0
    differing: int = 0
    classes: int = 0
    worst_margin: float = 0.0
    problems: list = field(default_factory=list)


def saved_files(folder):
    """Paths of all files below `folder`, relative to it."""
    return sorted(os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names)


def geometry_problems(theirs, ours, source=None):
    """Differences between two nibabel images, except for their voxels.

    MONAI writes one affine as qform and sform with code 1. On the grid of its input (`source`) a result of segbundle keeps
    the input's forms, codes and units, so that it lies on its image in programs that read either form.
    """
    out = []
    # MONAI drops trailing axes of length one; segbundle keeps three dimensions.
    expected = theirs.shape + (1,) * (3 - len(theirs.shape))
    if ours.shape != expected:
        return [f"shape {ours.shape}, expected {expected}"]
    if not np.allclose(theirs.affine, ours.affine, rtol=0, atol=1e-5):
        out.append(f"affine differs by {np.abs(theirs.affine - ours.affine).max():.3g}")
    zooms = [np.asarray(image.header.get_zooms()[:len(theirs.shape)]) for image in (theirs, ours)]
    if not np.allclose(*zooms, rtol=0, atol=1e-5):
        out.append(f"zooms {zooms[1]}, expected {zooms[0]}")
    if theirs.get_data_dtype() != ours.get_data_dtype():
        out.append(f"type {ours.get_data_dtype()}, expected {theirs.get_data_dtype()}")
    own_grid = source is not None and source.shape[:3] == ours.shape[:3] and np.allclose(source.affine, ours.affine, rtol=0, atol=1e-5)
    model = source if own_grid else theirs
    for name in ("qform_code", "sform_code", "xyzt_units"):
        pair = [int(image.header[name]) for image in (model, ours)]
        if pair[0] != pair[1]:
            out.append(f"{name} {pair[1]}, expected {pair[0]}")
    if int(model.header["qform_code"]) > 0 and int(ours.header["qform_code"]) > 0:
        difference = np.abs(model.get_qform() - ours.get_qform()).max()
        if difference > 1e-3:
            out.append(f"qform differs by {difference:.3g}")
    return out


def compare(theirs_path, ours_path, margin_path=None, input_path=None):
    """Compare a saved file: labels if margins (channel first) are given, else probabilities. `input_path`: the image."""
    theirs, ours = nib.load(theirs_path), nib.load(ours_path)
    source = nib.load(input_path) if input_path else None
    verdict = Verdict(problems=geometry_problems(theirs, ours, source))
    a, b = np.asarray(theirs.dataobj), np.asarray(ours.dataobj)
    b = b.reshape(a.shape) if a.size == b.size else b
    if a.shape != b.shape:
        return verdict
    verdict.voxels = a.size
    if margin_path is None:
        difference = np.abs(a.astype(np.float64) - b)
        verdict.worst_margin = float(difference.max(initial=0))
        verdict.differing = int((~(difference <= MAX_PROBABILITY_DIFFERENCE)).sum())
        if verdict.differing:
            verdict.problems.append(f"values differ by up to {verdict.worst_margin:.3g}")
        return verdict
    verdict.classes = len(np.unique(a))
    different = a != b
    verdict.differing = int(different.sum())
    if verdict.differing:
        margin = np.load(margin_path, mmap_mode="r")
        # [C,X,Y,Z] → [X,Y,Z,C], the saved order; a single channel is saved without a channel axis.
        margin = np.moveaxis(margin, 0, -1)
        margin = margin.reshape(a.shape)
        verdict.worst_margin = float(margin[different].max())
        if not verdict.worst_margin < MAX_MARGIN:
            clear = int((~(margin[different] < MAX_MARGIN)).sum())
            verdict.problems.append(f"{clear} clear voxels differ (margin up to {verdict.worst_margin:.3g})")
    return verdict


def self_test(folder):
    """Self-test: introduce faults into copies of a small file. Returns the faults that `compare` did not detect."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, (40, 30, 20)).astype(np.float32)
    affine = np.diag([-1.5, 1.5, 2.0, 1.0])
    margin = np.full((1,) + labels.shape, 0.5, np.float32)
    margin[0, 0] = 1e-4
    np.save(os.path.join(folder, "margin.npy"), margin)
    close, clear = labels.copy(), labels.copy()
    close[0, 3, 3] += 1
    clear[7, 3, 3] += 1
    moved = affine.copy()
    moved[0, 3] += 0.01

    def written(name, data, at=affine, codes=1):
        image = nib.Nifti1Image(data, at)
        image.set_sform(at, codes)
        image.set_qform(at, codes)
        nib.save(image, os.path.join(folder, name + ".nii.gz"))

    faults = {
        "a wrong label": (clear, affine, 1),
        "a moved grid": (labels, moved, 1),
        "another type": (labels.astype(np.uint8), affine, 1),
        "other codes": (labels, affine, 2),
        "a lost slice": (labels[:, :, 1:], affine, 1),
        "flipped voxels": (labels[::-1], affine, 1),
    }
    written("theirs", labels)
    written("tie", close)
    path = lambda name: os.path.join(folder, name + ".nii.gz")  # noqa: E731
    missed = []
    for name, made in faults.items():
        written("ours", *made)
        if not compare(path("theirs"), path("ours"), os.path.join(folder, "margin.npy")).problems:
            missed.append(name)
    written("input", labels, codes=2)
    written("ours", labels)
    if not compare(path("theirs"), path("ours"), os.path.join(folder, "margin.npy"), path("input")).problems:
        missed.append("codes of the input that were not kept")
    tie = compare(path("theirs"), path("tie"), os.path.join(folder, "margin.npy"))
    if tie.problems or tie.differing != 1:
        missed.append("a tie that fell the other way is no fault")
    written("ours", labels + np.float32(1e-3))
    if not compare(path("theirs"), path("ours")).problems:
        missed.append("another probability")
    return missed
