//! A volume: voxels, how they lie in memory, where they lie in the world, and what was applied to them.

use super::{Affine, DType, Grid, Trace, Voxels};
use std::path::PathBuf;
use std::sync::Arc;

/// One image. Cloning is cheap: voxels and header are shared.
#[derive(Debug, Clone)]
pub struct Volume {
    pub voxels: Voxels,
    pub layout: Layout,
    /// Of the present layout; world is RAS+ mm.
    pub affine: Affine,
    /// Whether axis 0 of the layout is a channel axis in MONAI's eyes: false from LoadImaged until EnsureChannelFirstd.
    pub channel_first: bool,
    /// The integer type that a config asked for; `None`: a float type, in whatever type the voxels are stored.
    pub integer_type: Option<DType>,
    pub header: Arc<ImageHeader>,
    pub trace: Trace,
}

/// How [C,X,Y,Z] lies in the buffer, in elements. Reorienting only changes this; nothing is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub offset: usize,
    /// [C,X,Y,Z]
    pub shape: [usize; 4],
    /// Elements between neighbours; negative where an axis runs backwards.
    pub strides: [isize; 4],
}

/// What the file said, kept for saving and naming.
#[derive(Debug, Clone)]
pub struct ImageHeader {
    /// The file, as the datalist names it.
    pub path: PathBuf,
    /// Grid as stored in the file.
    pub grid: Grid,
    /// Spatial dimensions of the stored array: 3, or 2 (1) for a plane (a row), whose missing axes have length 1 in `grid`.
    pub spatial_dims: usize,
    /// The channel count if the stored array has a channel axis.
    pub channels: Option<usize>,
    /// How the file describes its world space; `None` where it does not.
    pub space: Option<Space>,
    /// The series of a DICOM folder that the config names.
    pub series: Option<String>,
}

/// How a NIfTI file describes the world space that its affine leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Space {
    /// 0 none, 1 scanner, 2 aligned, 3 Talairach, 4 MNI, 5 other template.
    pub qform_code: i16,
    pub sform_code: i16,
    /// `xyzt_units`: 2 is millimetres without a unit of time.
    pub units: u8,
    /// The two forms as stored; `None` in formats that have a single one.
    pub forms: Option<StoredForms>,
}

/// NIfTI's two descriptions of one grid, which need not agree: viewers differ in which of them they follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoredForms {
    /// The grid that was read from them.
    pub grid: Grid,
    /// qfac (-1 or 1) and the voxel size in mm.
    pub pixdim: [f32; 4],
    /// b, c, d of the qform's unit quaternion.
    pub quaternion: [f32; 3],
    /// Position of the first voxel in the qform, in mm.
    pub qoffset: [f32; 3],
    /// The sform: three rows of an affine.
    pub srow: [[f32; 4]; 3],
}

impl StoredForms {
    /// Whether they describe the grid of this shape and affine: no voxel lies 0.001 mm off.
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
    /// The scanner's millimetres, of a format that has nothing else.
    pub const SCANNER_MM: Space = Space { qform_code: 1, sform_code: 1, units: 2, forms: None };
}

impl Layout {
    /// C order (Z fastest), as torch's contiguous tensors.
    pub fn contiguous(shape: [usize; 4]) -> Layout {
        let [_, x, y, z] = shape.map(|n| n as isize);
        Layout { offset: 0, shape, strides: [x * y * z, y * z, z, 1] }
    }
    /// Fortran order over X,Y,Z (X fastest), channels outermost: as NIfTI files are.
    pub fn fortran(shape: [usize; 4]) -> Layout {
        let [_, x, y, z] = shape.map(|n| n as isize);
        Layout { offset: 0, shape, strides: [x * y * z, 1, x, x * y] }
    }
    /// [X,Y,Z]
    pub fn spatial(&self) -> [usize; 3] {
        [self.shape[1], self.shape[2], self.shape[3]]
    }
    pub fn channels(&self) -> usize {
        self.shape[0]
    }
}

impl Volume {
    /// An image in memory on the grid of its layout and affine, as if `path` held it without a channel axis.
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
    pub fn grid(&self) -> Grid {
        Grid { shape: self.layout.spatial(), affine: self.affine }
    }
    /// Whether it has shape and geometry but no voxels, as read from a header alone.
    pub fn is_header_only(&self) -> bool {
        self.voxels.is_empty() && !self.layout.shape.contains(&0)
    }
    /// Bytes of voxels that it has, or would have.
    pub fn bytes(&self) -> u64 {
        self.layout
            .shape
            .iter()
            .fold(self.voxels.dtype().size_bytes() as u64, |bytes, &n| bytes.saturating_mul(n as u64))
    }
}
