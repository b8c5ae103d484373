//! A reader of NumPy's .npz files, for golden data.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

pub struct Array {
    pub shape: Vec<usize>,
    descr: String,
    bytes: Vec<u8>,
}

pub type Npz = BTreeMap<String, Array>;

/// `None` if there is no such file.
pub fn read(path: impl AsRef<Path>) -> Option<Npz> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).ok()?).unwrap();
    let names: Vec<String> = archive.file_names().map(str::to_owned).collect();
    let read = |name: String| {
        let mut bytes = Vec::new();
        archive.by_name(&name).unwrap().read_to_end(&mut bytes).unwrap();
        (name.trim_end_matches(".npy").to_owned(), Array::parse(&bytes))
    };
    Some(names.into_iter().map(read).collect())
}

impl Array {
    fn parse(bytes: &[u8]) -> Array {
        assert_eq!(&bytes[..6], b"\x93NUMPY");
        let (start, length) = match bytes[6] {
            1 => (10, usize::from(u16::from_le_bytes([bytes[8], bytes[9]]))),
            _ => (12, u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize),
        };
        let header = std::str::from_utf8(&bytes[start..start + length]).unwrap();
        assert!(header.contains("'fortran_order': False"), "{header}");
        let after = |key: &str| header.split(key).nth(1).unwrap();
        let descr = after("'descr': '").split('\'').next().unwrap().to_owned();
        let shape = after("'shape': (").split(')').next().unwrap();
        let shape = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
        Array { shape, descr, bytes: bytes[start + length..].to_vec() }
    }
    pub fn f64(&self) -> Vec<f64> {
        macro_rules! each {
            ($ty:ty) => {
                self.bytes
                    .chunks_exact(size_of::<$ty>())
                    .map(|b| <$ty>::from_le_bytes(b.try_into().unwrap()) as f64)
                    .collect()
            };
        }
        match self.descr.as_str() {
            "|u1" => each!(u8),
            "|i1" => each!(i8),
            "<u2" => each!(u16),
            "<u8" => each!(u64),
            "<i2" => each!(i16),
            "<i4" => each!(i32),
            "<i8" => each!(i64),
            "<f4" => each!(f32),
            "<f8" => each!(f64),
            other => panic!("{other} is not read here"),
        }
    }
    pub fn f32(&self) -> Vec<f32> {
        self.f64().into_iter().map(|x| x as f32).collect()
    }
    pub fn u8(&self) -> Vec<u8> {
        self.f64().into_iter().map(|x| x as u8).collect()
    }
}
