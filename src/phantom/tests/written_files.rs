//! Reads the sample data with independent readers: the `nifti` crate and a decoder of exactly one gzip member.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flate2::bufread::GzDecoder;
use nifti::volume::RandomAccessNiftiVolume;
use nifti::{NiftiObject, NiftiVolume, ReaderOptions};
use segbundle_phantom::{Options, case, write_set};
use std::io::Read;

#[test]
fn sample_data_are_single_members_that_the_nifti_crate_reads() {
    let folder = tempfile::tempdir().unwrap();
    // Larger than one compression block of 1 MB.
    let options = Options { training: 1, test: 1, size: [100, 90, 80], spacing_mm: 4.0, seed: 3 };
    let mut paths = write_set(folder.path(), &options).unwrap();
    paths.push(folder.path().join("labelsTr").join(paths[0].file_name().unwrap()));
    let made = case(0, &options).unwrap();
    for path in &paths {
        let bytes = std::fs::read(path).unwrap();
        let mut decoder = GzDecoder::new(&bytes[..]);
        let mut unpacked = vec![];
        decoder.read_to_end(&mut unpacked).unwrap();
        assert!(decoder.into_inner().is_empty(), "{}: more than one member", path.display());
        assert!(unpacked.len() > 352);
    }
    for (path, value) in [
        (&paths[0], (|case, at| f64::from(case.image[at])) as fn(&segbundle_phantom::Case, usize) -> f64),
        (&paths[2], |case, at| f64::from(case.labels[at])),
    ] {
        let volume = ReaderOptions::new().read_file(path).unwrap().into_volume();
        assert_eq!(volume.dim(), made.grid.shape.map(|n| n as u16));
        let [x, y, _] = made.grid.shape;
        for at in (0..made.image.len()).step_by(101) {
            let index = [at % x, at / x % y, at / x / y].map(|n| n as u16);
            assert_eq!(volume.get_f64(&index).unwrap(), value(&made, at), "{} {index:?}", path.display());
        }
    }
}
