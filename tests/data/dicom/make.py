"""Make small DICOM series with pydicom, and expected.json: for each folder or file the shape [C,X,Y,Z], the RAS affine
and the SHA-256 of the values in C order (little-endian float32), or a part of the error message.

Expected voxels and affines are those from which the slices are written; SimpleITK must read the same from each regular
series. The same checks on a real CT:

    python make.py ct.nii.gz FOLDER
    DICOM_CHECKS=FOLDER cargo test --release -p segbundle-formats --test all dicom -- --ignored

Requires: pip install pydicom SimpleITK nibabel numpy pyjpegls pylibjpeg pylibjpeg-openjpeg
"""

import hashlib
import json
import os
import shutil
import sys

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.fileset import FileSet
from pydicom.uid import (ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless,
                         JPEGLSNearLossless, RLELossless, DeflatedExplicitVRLittleEndian)

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED = "1.2.840.10008.5.1.4.1.1.2.1"
expected = {}


def remember(name, voxels, affine, check=True):
    """Record the expected voxels [X,Y,Z] in HU and RAS affine of `name`; `check`: compare them with SimpleITK."""
    values = np.ascontiguousarray(voxels, dtype="<f4")
    expected[name] = {"shape": [1, *voxels.shape], "affine": affine.tolist(), "sha256": hashlib.sha256(values.tobytes()).hexdigest()}
    if not check:
        return
    if os.path.isdir(name):
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(name))
        try:
            image = reader.Execute()
        except RuntimeError as error:
            print(f"{name}: not compared, SimpleITK cannot read it: {str(error).splitlines()[-1]}")
            return
    else:
        image = sitk.ReadImage(name)
    array = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    itk = np.eye(4)
    itk[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    itk[:3, 3] = image.GetOrigin()
    itk[:2] *= -1
    assert np.array_equal(array.astype(np.float32), values), name
    assert np.abs(itk - affine).max() < 1e-5, (name, itk, affine)


def uid(*parts):
    return ".".join(map(str, ("1.2.826.0.1.3680043.8.498", *parts)))


def slice_of(stored, position, directions, spacing, number, series=1, thickness=None, signed=True, slope=1, intercept=-1024, bits=16, **more):
    """Write one slice of stored values [Y,X]."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CT
    meta.MediaStorageSOPInstanceUID = uid(series, number)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, Dataset(), file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = CT, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.PatientName, ds.PatientID = "CT", "Phantom^Small", "0"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(9), uid(series)
    ds.SeriesNumber, ds.SeriesDescription, ds.InstanceNumber = series, f"Series {series}", number
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImagePositionPatient = [repr(float(v))[:16] for v in position]
    ds.ImageOrientationPatient = [repr(round(float(v), 12))[:16] for v in directions]
    ds.PixelSpacing = [float(spacing[1]), float(spacing[0])]
    ds.SliceThickness = float(thickness or 1)
    ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits, bits - 1
    ds.PixelRepresentation = int(signed)
    ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
    ds.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()
    for key, value in more.items():
        setattr(ds, key, value)
    return ds


def save(ds, name, syntax=ExplicitVRLittleEndian):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    if syntax in (JPEG2000Lossless, JPEGLSLossless, JPEGLSNearLossless, RLELossless):
        ds.compress(syntax, generate_instance_uid=False, **({"jls_error": 3} if syntax == JPEGLSNearLossless else {}))
    else:
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    if syntax == ExplicitVRBigEndian:
        ds["PixelData"].VR = "OW"
    pydicom.dcmwrite(name, ds, enforce_file_format=True, little_endian=syntax != ExplicitVRBigEndian,
                     implicit_vr=syntax == ImplicitVRLittleEndian)


def series(folder, hu, affine, syntax=ExplicitVRLittleEndian, slope=1, intercept=-1024, signed=True, bits=16, skip=(), shift=None, names=None, **more):
    """Write a series from `hu` [X,Y,Z] and its RAS affine; the order of the file names is not that of the slices."""
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = np.concatenate([lps[:3, 0] / spacing[0], lps[:3, 1] / spacing[1]])
    stored = np.round((hu.astype(np.float64) - intercept) / slope)
    for z in np.random.default_rng(1).permutation(hu.shape[2]):
        if z in skip:
            continue
        position = lps[:3, 3] + lps[:3, 2] * (z + (shift(z) if shift else 0))
        ds = slice_of(stored[:, :, z].T, position, directions, spacing, int(z) + 1, thickness=spacing[2], slope=slope, intercept=intercept,
                      signed=signed, bits=bits, **more)
        save(ds, f"{folder}/{(names or 'IM{:04d}.dcm').format(997 * int(z) % 1000)}", syntax)


def all_of(hu, affine, small=None):
    # OpenJPEG does not encode images smaller than 32×32.
    series("jpeg2000", hu, affine, JPEG2000Lossless, signed=False)
    remember("jpeg2000", hu, affine)
    series("signed_jpeg2000", hu, affine, JPEG2000Lossless, intercept=0)
    remember("signed_jpeg2000", hu, affine)
    if small:
        hu = hu[:small[0], :small[1]]
    kinds = {"implicit": ImplicitVRLittleEndian, "explicit": ExplicitVRLittleEndian, "big": ExplicitVRBigEndian, "rle": RLELossless,
             "jpegls": JPEGLSLossless, "deflated": DeflatedExplicitVRLittleEndian}
    for name, syntax in kinds.items():
        series(name, hu, affine, syntax, signed=False)
        remember(name, hu, affine)
    series("signed", hu, affine, intercept=0, names="{}")
    remember("signed", hu, affine)
    series("bits12", np.clip(hu, -1024, 3071), affine, bits=12, signed=False)
    remember("bits12", np.clip(hu, -1024, 3071), affine)
    half = np.round(hu / 0.5) * 0.5 + 0.25
    series("slope", half, affine, slope=0.5, intercept=-1024.25)
    remember("slope", half, affine)
    # Gantry tilt: the affine contains the shear, which ITK ignores.
    tilted = affine.copy()
    tilted[:3, 2] += 0.3 * affine[:3, 1] / np.linalg.norm(affine[:3, 1]) * np.linalg.norm(affine[:3, 2])
    series("tilted", hu, tilted)
    remember("tilted", hu, tilted, check=False)
    # Slightly uneven slices: a warning, and the mean spacing.
    series("uneven", hu, affine, shift=lambda z: 0.1 if z == 1 else 0)
    remember("uneven", hu, affine, check=False)
    series("missing", hu, affine, skip=[2])
    expected["missing"] = {"error": "1 slice is missing"}
    series("wild", hu, affine, shift=lambda z: 0.6 if z == 1 else 0)
    expected["wild"] = {"error": "unevenly spaced"}
    # Copies, a localizer, a report without pixels, a DICOMDIR and a file of another format, in subfolders.
    series("mixed/CT", hu, affine)
    shutil.copy("mixed/CT/IM0000.dcm", "mixed/copy.dcm")
    series("mixed/scout", hu[:, :, :1], affine @ np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]]), series=2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    report = slice_of(np.zeros((2, 2)), [0, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1], 1, series=3)
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.22"
    del report.PixelData
    save(report, "mixed/report.dcm")
    with open("mixed/notes.txt", "w") as out:
        out.write("no image")
    # A DICOMDIR.
    medium = FileSet()
    listed = pydicom.dcmread("mixed/CT/IM0000.dcm")
    listed.StudyDate, listed.StudyTime, listed.StudyID = "20200101", "120000", "1"
    medium.add(listed)
    medium.write("medium")
    shutil.move("medium/DICOMDIR", "mixed/DICOMDIR")
    shutil.rmtree("medium")
    remember("mixed", hu, affine, check=False)
    # Two series, two phases in one series.
    series("two/a", hu, affine)
    series("two/b", hu, affine, series=2)
    expected["two"] = {"error": "expected one DICOM series in the folder, found 2"}
    series("phases/a", hu, affine)
    series("phases/b", hu + 1, affine, SOPInstanceUID="")
    for z, name in enumerate(sorted(os.listdir("phases/b"))):
        ds = pydicom.dcmread(f"phases/b/{name}")
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid(7, z + 1)
        ds.save_as(f"phases/b/{name}")
    expected["phases"] = {"error": "two different slices lie at the same place"}
    # Enhanced CT: all slices are frames of one file.
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = [*(lps[:3, 0] / spacing[0]), *(lps[:3, 1] / spacing[1])]
    ds = slice_of((hu[:, :, 0].T + 1024), lps[:3, 3], directions, spacing, 1, series=4)
    for name in ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope", "RescaleIntercept"]:
        delattr(ds, name)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = ENHANCED
    ds.NumberOfFrames = hu.shape[2]
    ds.PixelData = (hu.transpose(2, 1, 0) + 1024).astype("<i2").tobytes()

    def item(**values):
        inner = Dataset()
        for key, value in values.items():
            setattr(inner, key, value)
        return inner

    shared = Dataset()
    shared.PlaneOrientationSequence = [item(ImageOrientationPatient=[repr(round(float(v), 12))[:16] for v in directions])]
    shared.PixelMeasuresSequence = [item(PixelSpacing=[float(spacing[1]), float(spacing[0])], SliceThickness=float(spacing[2]))]
    shared.PixelValueTransformationSequence = [item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")]
    ds.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for z in range(hu.shape[2]):
        frame = Dataset()
        frame.PlanePositionSequence = [item(ImagePositionPatient=[repr(float(v))[:16] for v in lps[:3, 3] + lps[:3, 2] * z])]
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    save(ds, "enhanced.dcm")
    remember("enhanced.dcm", hu, affine, check=False)
    ds.compress(RLELossless, generate_instance_uid=False)
    ds.save_as("enhanced_rle.dcm")
    remember("enhanced_rle.dcm", hu, affine, check=False)


if len(sys.argv) > 2:
    image = nib.load(sys.argv[1])
    hu, affine = np.round(image.get_fdata()).astype(np.int32), image.affine
    os.makedirs(sys.argv[2], exist_ok=True)
    os.chdir(sys.argv[2])
    # Slices must ascend along the normal of rows and columns.
    if np.linalg.det(affine[:3, :3]) < 0:
        affine = affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, hu.shape[2] - 1], [0, 0, 0, 1]])
        hu = hu[:, :, ::-1]
    hu = np.clip(hu, -1024, 30000)
else:
    hu = np.random.default_rng(0).integers(-1024, 2000, (33, 32, 5)).astype(np.int32)
    # A constant region for the run mode of JPEG-LS.
    hu[1:5, 1:3] = -1000
    a = 0.2
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]) @ np.diag([0.75, 0.8, 2.5])
    affine[:3, 3] = [100.5, 80.25, -300.125]
all_of(hu, affine, None if len(sys.argv) > 2 else (6, 4))
with open("expected.json", "w") as out:
    json.dump(expected, out, indent=0)
