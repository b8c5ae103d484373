"""Make DICOM series in each compressed transfer syntax, and compressed/expected.json: for each folder the shape
[C,X,Y,Z], the RAS affine and the values in C order as decoded by pydicom (the SHA-256 of little-endian float32 if decoding
is exact, else the values and their tolerance), or a part of the error message.

The image is a phantom computed by this script. The same checks on a real CT:

    python make_compressed.py ct.nii.gz FOLDER
    DICOM_CHECKS=FOLDER cargo test --release -p segbundle-formats --test all dicom -- --ignored

Requires: pip install pydicom nibabel numpy imagecodecs pillow pyjpegls pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg
"""

import hashlib
import io
import json
import os
import sys

import imagecodecs
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

expected = {}


def jpeg(**options):
    return lambda plane: imagecodecs.jpeg_encode(plane, **options)


def jpeg_ls(near):
    return lambda plane: imagecodecs.jpegls_encode(plane, level=near)


def jpeg_2000(bits, **options):
    return lambda plane: imagecodecs.jpeg2k_encode(plane, codecformat="j2k", bitspersample=bits, **options)


def jpeg_2000_tiles(plane):
    """Encode with Pillow. It misplaces columns of 16-bit tiles, but its output is still decoded exactly."""
    out = io.BytesIO()
    Image.fromarray(plane).save(out, "JPEG2000", tile_size=(8, 8), irreversible=False, no_jp2=True, num_resolutions=2)
    return out.getvalue()


def lossless(bits, predictor):
    return jpeg(lossless=True, predictor=predictor, bitspersample=bits)


# name: transfer syntax, bits stored, encoder of a plane, tolerance in stored values, options
KINDS = {
    "baseline": ("1.2.840.10008.1.2.4.50", 8, jpeg(level=90), 1, {}),
    "extended_8": ("1.2.840.10008.1.2.4.51", 8, jpeg(level=75), 1, {}),
    "extended_12": ("1.2.840.10008.1.2.4.51", 12, jpeg(level=90, bitspersample=12), "12 bits", {}),
    "lossless_12": ("1.2.840.10008.1.2.4.57", 12, lossless(12, 1), 0, {}),
    "lossless_16": ("1.2.840.10008.1.2.4.57", 16, lossless(16, 6), 0, {}),
    "lossless_7": ("1.2.840.10008.1.2.4.57", 16, lossless(16, 7), 0, {}),
    "lossless_first_8": ("1.2.840.10008.1.2.4.70", 8, lossless(8, 1), 0, {}),
    "lossless_first_12": ("1.2.840.10008.1.2.4.70", 12, lossless(12, 1), 0, {}),
    "lossless_first_16": ("1.2.840.10008.1.2.4.70", 16, lossless(16, 1), 0, {}),
    "lossless_signed": ("1.2.840.10008.1.2.4.70", 16, lossless(16, 1), 0, {"signed": True}),
    "jpegls": ("1.2.840.10008.1.2.4.80", 16, jpeg_ls(0), 0, {}),
    "jpegls_12": ("1.2.840.10008.1.2.4.80", 12, jpeg_ls(0), 0, {}),
    "jpegls_8": ("1.2.840.10008.1.2.4.80", 8, jpeg_ls(0), 0, {}),
    "jpegls_signed": ("1.2.840.10008.1.2.4.80", 16, jpeg_ls(0), 0, {"signed": True}),
    "near_1": ("1.2.840.10008.1.2.4.81", 12, jpeg_ls(1), 0, {}),
    "near_3": ("1.2.840.10008.1.2.4.81", 16, jpeg_ls(3), 0, {}),
    "near_20": ("1.2.840.10008.1.2.4.81", 16, jpeg_ls(20), 0, {}),
    "near_8": ("1.2.840.10008.1.2.4.81", 8, jpeg_ls(2), 0, {}),
    "jpeg2000_lossless": ("1.2.840.10008.1.2.4.90", 16, jpeg_2000(16, reversible=True), 0, {}),
    "jpeg2000_lossless_12": ("1.2.840.10008.1.2.4.90", 12, jpeg_2000(12, reversible=True, resolutions=2), 0, {}),
    "jpeg2000_lossless_signed": ("1.2.840.10008.1.2.4.90", 16, jpeg_2000(16, reversible=True), 0, {"signed": True}),
    "jpeg2000": ("1.2.840.10008.1.2.4.91", 16, jpeg_2000(16, level=60, reversible=False), 2, {}),
    "jpeg2000_12": ("1.2.840.10008.1.2.4.91", 12, jpeg_2000(12, level=45, reversible=False), 1, {}),
    "jpeg2000_8": ("1.2.840.10008.1.2.4.91", 8, jpeg_2000(8, level=40, reversible=False), 1, {}),
    "jpeg2000_signed": ("1.2.840.10008.1.2.4.91", 16, jpeg_2000(16, level=60, reversible=False), 2, {"signed": True}),
    "jpeg2000_reversible": ("1.2.840.10008.1.2.4.91", 16, jpeg_2000(16, reversible=True), 0, {}),
    "jpeg2000_tiles": ("1.2.840.10008.1.2.4.90", 16, jpeg_2000_tiles, 0, {}),
    "fragments": ("1.2.840.10008.1.2.4.80", 16, jpeg_ls(0), 0, {"fragments": 3}),
    "high_throughput": ("1.2.840.10008.1.2.4.201", 16, lambda plane: imagecodecs.htj2k_encode(plane, reversible=True), "1.2.840.10008.1.2.4.201", {}),
}


def uid(*parts):
    return ".".join(map(str, ("1.2.826.0.1.3680043.8.498", *parts)))


def write(name, number, plane, position, directions, spacing, rescale, syntax, bits, pack, signed=False, fragments=1):
    """Write a slice of stored values [Y,X]; return the values that pydicom decodes."""
    slope, intercept = rescale
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid(30, number)
    meta.TransferSyntaxUID = UID(syntax)
    ds = FileDataset(None, Dataset(), file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.PatientName, ds.PatientID = "CT", "Phantom^Small", "0"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = uid(39), uid(30), 30, number
    ds.ImagePositionPatient = [repr(float(v))[:16] for v in position]
    ds.ImageOrientationPatient = [repr(round(float(v), 12))[:16] for v in directions]
    ds.PixelSpacing, ds.SliceThickness = [float(spacing[1]), float(spacing[0])], float(spacing[2])
    ds.Rows, ds.Columns = plane.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8 if bits == 8 else 16, bits, bits - 1, int(signed)
    ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
    packed = pack(plane)
    ds.PixelData = encapsulate([bytes(packed)], fragments_per_frame=fragments)
    ds["PixelData"].VR = "OB"
    pydicom.dcmwrite(name, ds, enforce_file_format=True, implicit_vr=False, little_endian=True)
    try:
        return pydicom.dcmread(name).pixel_array
    except Exception as error:
        print(f"{name}: pydicom: {error}")
        return plane


def main(hu, affine):
    """Write all series from `hu` [X,Y,Z] and its RAS affine."""
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = np.concatenate([lps[:3, 0] / spacing[0], lps[:3, 1] / spacing[1]])
    for name, (syntax, bits, pack, tolerance, options) in KINDS.items():
        os.makedirs(name, exist_ok=True)
        signed = options.get("signed", False)
        # 8 bits for a coarse window, 12 bits for the usual range of a CT.
        slope, intercept = (8, -1024) if bits == 8 else (1, 0 if signed else -1024)
        least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        kind = np.dtype("i2" if signed else "u1" if bits == 8 else "<u2")
        stored = np.clip(np.round((hu - intercept) / slope), least, most).astype(kind)
        decoded = []
        for z in range(hu.shape[2]):
            position = lps[:3, 3] + lps[:3, 2] * z
            plane = np.ascontiguousarray(stored[:, :, z].T)
            # JPEG and JPEG-LS have no signed samples: the bits are encoded as they are.
            as_packed = plane.view("<u2") if signed and "jpeg2000" not in name else plane
            decoded.append(write(f"{name}/IM{z}.dcm", z + 1, as_packed, position, directions, spacing, (slope, intercept), syntax, bits, pack, **options))
        if isinstance(tolerance, str):
            expected[name] = {"error": tolerance}
            continue
        back = np.stack(decoded, axis=-1).transpose(1, 0, 2)
        lost = int(np.abs(back.astype(np.int64) - stored).max())
        print(f"{name}: encoding changed values by at most {lost}")
        assert "lossless" not in name or lost == 0, name
        values = np.ascontiguousarray(back.astype(np.float64) * slope + intercept, dtype="<f4")
        expected[name] = {"shape": [1, *values.shape], "affine": affine.tolist()}
        if tolerance:
            expected[name] |= {"tolerance": tolerance * slope, "values": [int(value) for value in values.ravel()]}
        else:
            expected[name]["sha256"] = hashlib.sha256(values.tobytes()).hexdigest()
    with open("expected.json", "w") as out:
        json.dump(expected, out)


if len(sys.argv) > 2:
    import nibabel as nib

    image = nib.load(sys.argv[1])
    hu, affine = np.clip(np.round(image.get_fdata()), -1024, 30000).astype(np.int64), image.affine
    # Slices must ascend along the normal of rows and columns.
    if np.linalg.det(affine[:3, :3]) < 0:
        affine = affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, hu.shape[2] - 1], [0, 0, 0, 1]])
        hu = hu[:, :, ::-1]
    folder = sys.argv[2]
else:
    # A body with a spine, bowel gas and scanner noise.
    x, y, z = np.meshgrid(np.linspace(-1, 1, 19), np.linspace(-1, 1, 17), np.linspace(0, 1, 2), indexing="ij")
    hu = np.full(x.shape, -1000.0)
    hu[x**2 + (y / 0.8) ** 2 < 0.85] = 50
    hu[x**2 + (y - 0.35) ** 2 < 0.06 + 0.02 * z] = 900
    hu[(x + 0.4) ** 2 + (y + 0.2) ** 2 < 0.05] = -850
    hu += np.where(hu > -900, np.random.default_rng(5).normal(0, 12, hu.shape), 0)
    hu, affine = np.round(hu).astype(np.int64), np.diag([-0.8, -0.8, 2.5, 1.0])
    affine[:3, 3] = [10.5, 8.25, -30]
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compressed")
os.makedirs(folder, exist_ok=True)
os.chdir(folder)
main(hu, affine)
