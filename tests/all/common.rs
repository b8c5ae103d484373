//! What several topics need: golden data, components built by name, images from tensors.

use segbundle::checkpoint;
use segbundle::component::{Args, BuildContext, Value};
use segbundle::error::Result;
use segbundle::image::{Affine, Grid, ImageHeader, Layout, Volume, Voxels};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tch::Tensor;

/// The tensors of `tests/data/NAME`, a dict saved by torch.
pub fn golden(name: &str) -> HashMap<String, Tensor> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    checkpoint::load(&path).unwrap().state_dict(None).unwrap().into_iter().collect()
}

/// A component as a config builds it.
pub fn build(name: &str, args: &[(&str, Value)]) -> Result<Value> {
    let component = segbundle::registry::table().component(name).unwrap_or_else(|| panic!("no component {name}"));
    (component.build)(
        Args::named(args.iter().map(|(key, value)| ((*key).into(), value.clone()))),
        &mut BuildContext::default(),
    )
}

/// x [1,C,X,Y,Z] as an image of 1 mm voxels.
pub fn volume_of(x: &Tensor) -> Volume {
    let size: Vec<usize> = x.size().into_iter().map(|n| n as usize).collect();
    let values = Vec::<f32>::try_from(x.reshape([-1])).unwrap();
    let grid = Grid { shape: [size[2], size[3], size[4]], affine: Affine::IDENTITY };
    Volume {
        voxels: Voxels::F32(values.into()),
        layout: Layout::contiguous([size[1], size[2], size[3], size[4]]),
        affine: Affine::IDENTITY,
        channel_first: true,
        header: Arc::new(ImageHeader {
            path: "x.nii.gz".into(),
            grid,
            spatial_dims: 3,
            channels: None,
            space: None,
            series: None,
        }),
        trace: vec![],
    }
}
