//! What we write, read by readers that are not ours: the `nifti` crate and a decoder of exactly one gzip member.

use flate2::bufread::GzDecoder;
use nifti::volume::RandomAccessNiftiVolume;
use nifti::{NiftiObject, NiftiVolume, ReaderOptions};
use segbundle_formats::nifti::{Options, write};
use segbundle_image::{Affine, DType, Layout, Voxels};
use std::io::Read;

const AFFINE: Affine =
    Affine([[-1.5, 0.0, 0.0, 10.0], [0.0, 2.0, 0.0, -20.0], [0.0, 0.0, 3.0, 30.0], [0.0, 0.0, 0.0, 1.0]]);

/// Fields of a header at their byte offsets.
#[test]
fn the_nifti_crate_and_a_reader_of_one_member_read_our_files() {
    let folder = tempfile::tempdir().unwrap();
    // The second is of more than one batch of blocks.
    for (shape, dtype) in [([1, 5, 4, 3], DType::I16), ([1, 300, 300, 100], DType::F32), ([2, 5, 4, 3], DType::U8)] {
        let [channels, x, y, z] = shape;
        let value = |i: usize| (i * i / 7 % 105) as u8;
        let voxels = Voxels::U8((0..channels * x * y * z).map(value).collect());
        for (name, extension) in [("a.nii.gz", &b""[..]), ("b.nii.gz", b"names of labels"), ("c.nii", b"")] {
            let path = folder.path().join(name);
            let options = Options { extension, description: "test", ..Options::default() };
            write(&path, &voxels, &Layout::fortran(shape), &AFFINE, dtype, options).unwrap();

            let object = ReaderOptions::new().read_file(&path).unwrap();
            let header = object.header();
            assert_eq!(header.srow_x, [-1.5, 0.0, 0.0, 10.0]);
            assert_eq!(
                (header.qform_code, header.sform_code, header.pixdim[..4].to_vec()),
                (1, 1, vec![-1.0, 1.5, 2.0, 3.0])
            );
            assert_eq!(object.extensions().len(), usize::from(!extension.is_empty()));
            let dims: Vec<u16> =
                if channels == 1 { vec![x, y, z] } else { vec![x, y, z, channels] }.iter().map(|n| *n as u16).collect();
            let volume = object.volume();
            assert_eq!(volume.dim(), dims);
            for i in (0..channels * x * y * z).step_by(if x > 100 { 997 } else { 1 }) {
                let at = [i % x, i / x % y, i / x / y % z, i / x / y / z].map(|n| n as u16);
                assert_eq!(volume.get_f64(&at[..dims.len()]).unwrap(), f64::from(value(i)), "{name} {at:?}");
            }

            if name.ends_with("gz") {
                let bytes = std::fs::read(&path).unwrap();
                let mut decoder = GzDecoder::new(&bytes[..]);
                let mut unpacked = vec![];
                decoder.read_to_end(&mut unpacked).unwrap();
                assert!(decoder.into_inner().is_empty(), "{name}: more than one member");
                let offset = f32::from_le_bytes(unpacked[108..112].try_into().unwrap()) as usize;
                assert_eq!(unpacked.len(), offset + channels * x * y * z * dtype.size_bytes());
            }
        }
    }
}
