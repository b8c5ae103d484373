"""Make headers.bin: the concatenated 348-byte headers of files written by MONAI 1.6.1 (nibabel 5.4.2): python make.py

All affines are exact in float32, so that each header contains its input: all 48 orientations, oblique and sheared
affines, types, channels, a single plane.
"""
import itertools
import os
import tempfile
import numpy as np
from monai.data import NibabelWriter

os.chdir(os.path.dirname(os.path.abspath(__file__)))


def header(affine, shape=(3, 4, 5), dtype=np.float32, **options):
    affine = np.asarray(affine, np.float32).astype(np.float64)
    writer = NibabelWriter(output_dtype=dtype)
    if "channel_dim" not in options:
        shape, options = (1, *shape), {"channel_dim": 0}
    writer.set_data_array(np.zeros(shape, np.float32), **options)
    writer.affine = affine  # set_metadata would resample, for which a permuted affine of squeezed data fails
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "x.nii")
        writer.write(name)
        data = open(name, "rb").read()
    assert data[348:352] == bytes(4)
    return data[:348]


def rotation(axis, degrees):
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + s * k + (1 - c) * k @ k


def affine(matrix, zooms=(1.5, 2.0, 3.0), origin=(10, -20, 30.5)):
    out = np.eye(4)
    out[:3, :3] = np.asarray(matrix) * zooms
    out[:3, 3] = origin
    return out


headers = []
for axes in itertools.permutations(range(3)):
    for signs in itertools.product((1, -1), repeat=3):
        matrix = np.zeros((3, 3))
        matrix[axes, range(3)] = signs
        headers.append(header(affine(matrix)))
for axis, degrees in [((1, 0, 0), 10), ((1, 2, 3), 33), ((0, 0, 1), 179), ((3, -1, 2), 120), ((1, 1, 0.1), 0.05)]:
    headers.append(header(affine(rotation(axis, degrees), zooms=(0.7421875, 0.7421875, 5))))
    headers.append(header(affine(rotation(axis, degrees) @ np.diag([1, 1, -1]))))
headers.append(header(affine([[1, 0.2, 0], [0, 1, 0], [0, 0.1, 1]])))  # sheared
for dtype in (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float64):
    headers.append(header(affine(np.eye(3)), dtype=dtype))
headers.append(header(affine(np.eye(3)), shape=(2, 3, 4, 5), channel_dim=0))
headers.append(header(affine(np.eye(3)), shape=(1, 3, 4, 5), channel_dim=0, squeeze_end_dims=False))
headers.append(header(affine(np.eye(3)), shape=(3, 4)))
with open("headers.bin", "wb") as file:
    file.write(b"".join(headers))
