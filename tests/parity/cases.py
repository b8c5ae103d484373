"""CTs of the comparison: real ones if ../shared exists, else the sample set; and copies with other geometries."""
import glob
import os
import shutil
import subprocess

import nibabel as nib
import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.path.join(os.path.dirname(ROOT), "shared")
UPSTREAM = os.path.join(SHARED, "upstream", "wholeBody_ct_segmentation")


def real(name):
    """Path of a real CT, or None if there are none."""
    path = os.path.join(SHARED, "data", "ct", name, "image.nii.gz")
    return path if os.path.exists(path) else None


def sample_set(binary, folder):
    """Write sample data to `folder`, return its imagesTs; small, as MONAI needs 105 f32 channels per voxel."""
    options = ["--cases", "15", "--size", "80", "64", "64"]
    subprocess.run([binary, "sample-data", "--output_dir", folder, *options], check=True, stdout=subprocess.DEVNULL)
    found = sorted(glob.glob(os.path.join(folder, "imagesTs", "*.nii.gz")))
    if not found:
        raise SystemExit("sample-data did not write imagesTs")
    return found


def rotated(affine):
    """Rotate by 10 degrees about z and 7 about x: oblique, with orthogonal axes."""
    z, x = np.deg2rad(10), np.deg2rad(7)
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    out = affine.copy()
    out[:3, :3] = about_x @ about_z @ affine[:3, :3]
    return out


def sheared(affine):
    """Shear y by tan(15 degrees) along z, like a tilted gantry; a qform cannot represent this."""
    shear = np.eye(4)
    shear[1, 2] = np.tan(np.deg2rad(15))
    out = affine.copy()
    out[:3, :3] = shear[:3, :3] @ affine[:3, :3]
    return out


def with_affine(source, change, path):
    """Write a copy of `source` with the geometry `change(affine)`, stored in the sform only."""
    image = nib.load(source)
    copy = nib.Nifti1Image(np.asanyarray(image.dataobj), change(image.affine))
    copy.header.set_xyzt_units("mm", "sec")
    copy.set_sform(copy.affine, code=2)
    copy.set_qform(None, code=0)
    nib.save(copy, path)
    return path


def gather(folder, binary, quick):
    """Copy files to `folder` under unique names, since outputs are named after the input. Returns {name: path}."""
    os.makedirs(folder, exist_ok=True)
    if real("lung"):
        names = ["vertebra_pir", "three_slices"] if quick else ["lung", "abdomen_slab", "vertebra_pir", "three_slices"]
        sources = {name: real(name) for name in names}
        turned = None if quick else sources["lung"]
    else:
        found = sample_set(binary, os.path.join(folder, "sample"))
        chosen = found[:1] if quick else found[:3]
        sources = {os.path.basename(path).split(".")[0]: path for path in chosen}
        turned = None if quick else chosen[0]
    out = {name: shutil.copyfile(path, os.path.join(folder, name + ".nii.gz")) for name, path in sources.items()}
    if turned:
        out["rotated"] = with_affine(turned, rotated, os.path.join(folder, "rotated.nii.gz"))
        out["sheared"] = with_affine(turned, sheared, os.path.join(folder, "sheared.nii.gz"))
    return out
