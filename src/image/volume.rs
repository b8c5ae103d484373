//! [`Volume`]: the voxels of an image with their memory layout, affine, header and applied operations.

use super::{Affine, DType, Grid, Trace, Voxels};
use std::path::PathBuf;
use std::sync::Arc;

/// One image. Cloning is cheap: voxels and header are shared.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Values, in the order that `layout` describes.
    pub voxels: Voxels,
    /// Shape `[C,X,Y,Z]` and order in memory.
    pub layout: Layout,
    /// Voxel index in the current layout to world coordinates (RAS+, mm).
    pub affine: Affine,
    /// Whether axis 0 of the layout is MONAI's channel axis: false between LoadImaged and EnsureChannelFirstd.
    pub channel_first: bool,
    /// The integer type that a config asked for; `None` means floating point, whatever type the voxels are stored in.
    pub integer_type: Option<DType>,
    /// The header of the file that it was read from.
    pub header: Arc<ImageHeader>,
    /// Spatial operations that were applied, oldest first.
    pub trace: Trace,
}

/// Maps an index `[C,X,Y,Z]` to a position in the buffer, in elements. Reorienting changes only the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Buffer index of voxel `[0,0,0,0]`.
    pub offset: usize,
    /// Size `[C,X,Y,Z]`.
    pub shape: [usize; 4],
    /// Elements from one voxel to the next along each axis; negative if the axis is reversed in memory.
    pub strides: [isize; 4],
}

/// Content of a file's header that is needed to save results on its grid and under its name.
#[derive(Debug, Clone)]
pub struct ImageHeader {
    /// Path of the file, as in the datalist.
    pub path: PathBuf,
    /// Grid as stored in the file.
    pub grid: Grid,
    /// Spatial dimensions of the stored array: 3, or 2 or 1, then missing axes have length 1 in `grid`.
    pub spatial_dims: usize,
    /// The channel count if the stored array has a channel axis.
    pub channels: Option<usize>,
    /// World space of the affine; `None` if the file does not tell.
    pub space: Option<Space>,
    /// DICOM series that the config selects.
    pub series: Option<String>,
}

/// The world space of an affine, in NIfTI's terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Space {
    /// World space of the qform: 0 none, 1 scanner, 2 aligned, 3 Talairach, 4 MNI, 5 other template.
    pub qform_code: i16,
    /// World space of the sform, with the same codes.
    pub sform_code: i16,
    /// `xyzt_units`: 2 is mm without a unit of time.
    pub units: u8,
    /// Both forms as stored; `None` for formats that store a single affine.
    pub forms: Option<StoredForms>,
}

/// The qform and sform of a NIfTI file. They need not agree, and viewers differ in which one they follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoredForms {
    /// The grid that the reader derived from them.
    pub grid: Grid,
    /// qfac (-1 or 1) and the voxel size in mm.
    pub pixdim: [f32; 4],
    /// Components b, c, d of the qform's unit quaternion.
    pub quaternion: [f32; 3],
    /// Position of the first voxel by the qform, in mm.
    pub qoffset: [f32; 3],
    /// The sform: three rows of an affine.
    pub srow: [[f32; 4]; 3],
}

impl StoredForms {
    /// Whether they describe the grid of this shape and affine: all corners agree within 0.001 mm.
    pub fn describe(&self, shape: &[usize; 3], affine: &Affine) -> bool {
        let corner = |i: usize| std::array::from_fn(|axis| if i >> axis & 1 == 1 { shape[axis] as f64 } else { 0.0 });
        *shape == self.grid.shape
            && (0..8).map(corner).all(|corner| {
                let (here, there) = (affine.at(corner), self.grid.affine.at(corner));
                here.iter().zip(there).all(|(a, b)| (a - b).abs() <= 1e-3)
            })
    }
}

impl Space {
    /// Scanner coordinates in mm: the world space of formats that do not name one.
    pub const SCANNER_MM: Space = Space { qform_code: 1, sform_code: 1, units: 2, forms: None };
}

impl Layout {
    /// C order (Z varies fastest), as in contiguous tensors.
    pub fn contiguous(shape: [usize; 4]) -> Layout {
        let [_, x, y, z] = shape.map(|n| n as isize);
        Layout { offset: 0, shape, strides: [x * y * z, y * z, z, 1] }
    }
    /// Fortran order over X, Y, Z (X varies fastest), channels outermost, as in NIfTI files.
    pub fn fortran(shape: [usize; 4]) -> Layout {
        let [_, x, y, z] = shape.map(|n| n as isize);
        Layout { offset: 0, shape, strides: [x * y * z, 1, x, x * y] }
    }
    /// Size `[X,Y,Z]` in voxels.
    pub fn spatial(&self) -> [usize; 3] {
        [self.shape[1], self.shape[2], self.shape[3]]
    }
    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.shape[0]
    }
}

impl Volume {
    /// Creates an image on the grid of `layout` and `affine`, as if read from `path` without a channel axis.
    pub fn new(path: impl Into<PathBuf>, voxels: Voxels, layout: Layout, affine: Affine) -> Volume {
        let grid = Grid { shape: layout.spatial(), affine };
        let header = Arc::new(ImageHeader {
            path: path.into(),
            grid,
            spatial_dims: 3,
            channels: None,
            space: None,
            series: None,
        });
        Volume { voxels, layout, affine, channel_first: true, integer_type: None, header, trace: vec![] }
    }
    /// Shape and affine of the voxels as they are now.
    pub fn grid(&self) -> Grid {
        Grid { shape: self.layout.spatial(), affine: self.affine }
    }
    /// Whether only the header was read: shape and affine are known, the buffer is empty.
    pub fn is_header_only(&self) -> bool {
        self.voxels.is_empty() && !self.layout.shape.contains(&0)
    }
    /// Size of the voxels in bytes, also of a header-only volume.
    pub fn bytes(&self) -> u64 {
        self.layout
            .shape
            .iter()
            .fold(self.voxels.dtype().size_bytes() as u64, |bytes, &n| bytes.saturating_mul(n as u64))
    }
}
