"""Make small NRRD and MetaImage files with pynrrd, SimpleITK or by hand, and expected.json: for each file the shape
[C,X,Y,Z], the RAS affine and the values in C order as read by SimpleITK (MONAI's ITKReader uses the same ITK).

Run in this folder. Requires: pip install SimpleITK pynrrd numpy
"""

import gzip
import json
import zlib

import nrrd
import numpy as np
import SimpleITK as sitk

X, Y, Z = 3, 4, 5
rng = np.random.default_rng(0)
voxels = rng.integers(-1000, 1000, (Z, Y, X)).astype(np.int16)
angle = 0.3
turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
tilt = np.array([[1, 0, 0], [0, np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), np.cos(0.2)]])
direction = turn @ tilt @ np.diag([1, -1, -1])


def image(array, vector=False):
    out = sitk.GetImageFromArray(array, isVector=vector)
    out.SetSpacing([0.7, 0.8, 2.5])
    out.SetOrigin([-12.5, 30.25, 100.125])
    out.SetDirection(direction.ravel().tolist())
    return out


files = []


def save(name, out, compress=False):
    sitk.WriteImage(out, name, compress)
    files.append(name)


for kind in ["mha", "nrrd"]:
    save(f"int16.{kind}", image(voxels))
    save(f"packed.{kind}", image(voxels), True)
    save(f"components.{kind}", image(rng.random((Z, Y, X, 2)).astype(np.float32), True))
save("uint8.mhd", image((voxels & 255).astype(np.uint8)))
save("packed.mhd", image(voxels), True)
save("int32.nhdr", image(voxels.astype(np.int32)))
save("double.mha", image(voxels / 7.0))


def text(name, header, body=b""):
    with open(name, "wb") as out:
        out.write(header.encode() + body)
    files.append(name)


vectors = " ".join("(" + ",".join(repr(float(v)) for v in column) + ")" for column in (direction @ np.diag([0.7, 0.8, 2.5])).T)
base = f"NRRD0005\n# by hand\ntype: short\ndimension: 3\nsizes: {X} {Y} {Z}\n"
place = f"space directions: {vectors}\nspace origin: (-12.5,30.25,100.125)\n"
lps = "space: left-posterior-superior\n"
text("ascii.nrrd", base + lps + place + "encoding: ascii\n\n", " ".join(map(str, voxels.ravel())).encode())
text("big.nrrd", base + lps + place + "endian: big\nencoding: raw\n\n", voxels.astype(">i2").tobytes())
text("ras.nrrd", base + "space: right-anterior-superior\n" + place + "endian: little\nencoding: raw\n\n", voxels.tobytes())
text("las.nrrd", base + "space: LAS\n" + place + "endian: little\nencoding: gzip\n\n", gzip.compress(voxels.tobytes(), mtime=0))
text("spacings.nrrd", base + "spacings: 0.7 0.8 2.5\nendian: little\nencoding: raw\n\n", voxels.tobytes())
text("skipped.nrrd", base + lps + place + "byte skip: -1\nendian: little\nencoding: raw\n\n", b"remarks" + voxels.tobytes())
for z in range(Z):
    with open(f"slice{z:02d}.raw", "wb") as out:
        out.write(voxels[z].tobytes())
text("numbered.nhdr", base + lps + place + f"endian: little\nencoding: raw\ndata file: slice%02d.raw 0 {Z - 1} 1\n")
text("listed.nhdr", base + lps + place + "endian: little\nencoding: raw\ndata file: LIST\n" + "".join(f"slice{z:02d}.raw\n" for z in range(Z)))
matrix = " ".join(repr(float(v)) for v in direction.T.ravel())
meta = f"ObjectType = Image\nNDims = 3\nTransformMatrix = {matrix}\nOffset = -12.5 30.25 100.125\nElementSpacing = 0.7 0.8 2.5\nDimSize = {X} {Y} {Z}\nAnatomicalOrientation = RAI\n"
text("big.mha", meta + "BinaryData = True\nBinaryDataByteOrderMSB = True\nElementType = MET_SHORT\nElementDataFile = LOCAL\n", voxels.astype(">i2").tobytes())
text("ascii.mha", meta + "BinaryData = False\nElementType = MET_SHORT\nElementDataFile = LOCAL\n", " ".join(map(str, voxels.ravel())).encode() + b"\n")
text("numbered.mhd", meta + f"BinaryData = True\nElementByteOrderMSB = False\nElementType = MET_SHORT\nElementDataFile = slice%02d.raw 0 {Z - 1} 1\n")
text("listed.mhd", meta + "BinaryData = True\nElementByteOrderMSB = False\nElementType = MET_SHORT\nElementDataFile = LIST\n" + "".join(f"slice{z:02d}.raw\n" for z in range(Z)))
text("tail.mhd", meta + "BinaryData = True\nElementByteOrderMSB = False\nHeaderSize = -1\nElementType = MET_SHORT\nElementDataFile = tail.raw\n")
with open("tail.raw", "wb") as out:
    out.write(b"0123456789" + voxels.tobytes())
# pynrrd's channel axis comes first.
nrrd.write(
    "pynrrd.nrrd",
    rng.integers(0, 255, (2, X, Y, Z)).astype(np.uint8),
    {"space": "left-posterior-superior", "kinds": ["vector", "domain", "domain", "domain"],
     "space directions": np.vstack([[np.nan] * 3, (direction @ np.diag([0.7, 0.8, 2.5])).T]), "space origin": [-12.5, 30.25, 100.125]},
)
files.append("pynrrd.nrrd")

expected = {}
for name in files:
    read = sitk.ReadImage(name)
    array = sitk.GetArrayFromImage(read)
    array = array.transpose(3, 2, 1, 0) if array.ndim == 4 else array.transpose(2, 1, 0)[None]
    affine = np.eye(4)
    affine[:3, :3] = np.array(read.GetDirection()).reshape(3, 3) @ np.diag(read.GetSpacing())
    affine[:3, 3] = read.GetOrigin()
    affine[:2] *= -1
    expected[name] = {"shape": array.shape, "dtype": str(array.dtype), "affine": affine.tolist(), "values": array.ravel().tolist()}
with open("expected.json", "w") as out:
    json.dump(expected, out)
