//! Datasets, loaders, transforms, inferers and networks as objects of an expression, against what MONAI 1.6.1 prints for
//! the same expressions on the same three images.

use segbundle::bundle::expr::{self, Env};
use segbundle::component::{BuildContext, Value};
use segbundle::error::Error;
use segbundle::formats::nifti;
use segbundle::image::{Affine, DType, Layout, Voxels};
use segbundle::registry;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Images of shape 2×3×4 and 2×3×4 mm voxels: value 12x + 4y + z + 100k in image k.
fn images(folder: &Path) {
    let affine = Affine([[2.0, 0.0, 0.0, 0.0], [0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0], [0.0, 0.0, 0.0, 1.0]]);
    for k in 0..3 {
        let voxels = Voxels::I16((0..24).map(|i| i + 100 * k).collect());
        let (path, layout) = (folder.join(format!("i{k}.nii")), Layout::contiguous([1, 2, 3, 4]));
        nifti::write(path, &voxels, &layout, &affine, DType::I16, nifti::Options::default()).unwrap();
    }
}

/// An expression's value where `ds`, `dl`, `prep` and the like stand for what a config would hold under these ids.
fn evaluate(text: &str, folder: &Path) -> Result<Value, Error> {
    const NAMES: &[(&str, &str)] = &[
        ("raw", "Compose([LoadImaged('image'), EnsureChannelFirstd('image')])"),
        (
            "prep",
            "Compose([LoadImaged('image'), EnsureChannelFirstd('image'), Spacingd('image', pixdim=(2.0, 3.0, 2.0)), ScaleIntensityRanged('image', 0, 100, 0, 1)])",
        ),
        ("ds", "monai.data.Dataset([{'image': f'DIR/i{k}.nii', 'n': k} for k in range(3)], @raw)"),
        ("dl", "monai.data.DataLoader(@ds, batch_size=2)"),
        ("net", "monai.networks.nets.SegResNet(spatial_dims=3, init_filters=8, in_channels=1, out_channels=2)"),
        ("simple", "monai.inferers.SimpleInferer()"),
        ("windows", "monai.inferers.SlidingWindowInferer((16, 16, 16))"),
    ];
    let imports: std::collections::BTreeMap<String, String> =
        ["Compose", "LoadImaged", "EnsureChannelFirstd", "Spacingd", "ScaleIntensityRanged"]
            .map(|name| (name.to_owned(), format!("monai.transforms.{name}")))
            .into();
    let mut references = HashMap::new();
    let run = |text: &str, references: HashMap<String, Value>| {
        let text = text.replace("DIR", folder.to_str().unwrap());
        let env = Arc::new(Env { references, imports: Arc::new(imports.clone()), table: registry::table() });
        expr::eval(&Arc::new(expr::parse(&text)?), &env, &mut BuildContext::default())
    };
    for (id, text) in NAMES {
        let value = run(text, references.clone())?;
        references.insert((*id).to_owned(), value);
    }
    run(text, references)
}

#[test]
fn objects_of_a_run_answer_as_monais_do() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path());
    for (text, wanted) in [
        ("len(@ds), len(@dl)", "(3, 2)"),
        ("@ds[0]['image'].shape, @ds[0]['image'].dtype", "((1, 2, 3, 4), torch.float32)"),
        ("@ds[-1]['image'].sum().item()", "5076.0"),
        (
            "@ds[0]['image'].affine.tolist()",
            "[[2.0, 0.0, 0.0, 0.0], [0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0], [0.0, 0.0, 0.0, 1.0]]",
        ),
        (
            "@ds[1]['image'].meta['filename_or_obj'][-6:], list(@ds[1]['image'].meta['spatial_shape'])",
            "('i1.nii', [2, 3, 4])",
        ),
        ("[x['n'] for x in @ds], [int(x['image'].max()) for x in @ds]", "([0, 1, 2], [23, 123, 223])"),
        ("torch.utils.data.Subset(@ds, [2])[0]['n']", "2"),
        (
            "(p := @prep({'image': 'DIR/i1.nii'})['image']).shape, p.pixdim.tolist(), round(p.mean().item(), 6), p.affine.tolist()[2]",
            "((1, 2, 3, 7), [2.0, 3.0, 2.0], 1.115, [0.0, 0.0, 2.0, 0.0])",
        ),
        (
            "[x['image'].shape for x in @prep([{'image': 'DIR/i0.nii'}, {'image': 'DIR/i1.nii'}])]",
            "[(1, 2, 3, 7), (1, 2, 3, 7)]",
        ),
        (
            "(b := next(iter(@dl)))['image'].shape, b['n'].tolist(), [row.sum().item() for row in b['image']]",
            "((2, 1, 2, 3, 4), [0, 1], [276.0, 2676.0])",
        ),
        ("[len(b['n']) for b in @dl]", "[2, 1]"),
        ("(@ds[0]['image'] > 11).sum().item(), (@ds[0]['image'] + @ds[1]['image']).max().item()", "(12, 146.0)"),
        ("@simple(torch.zeros(1, 1, 16, 16, 16), @net).shape", "(1, 2, 16, 16, 16)"),
        ("@windows(torch.zeros(1, 1, 24, 16, 16), @net).shape", "(1, 2, 24, 16, 16)"),
        (
            "@net(torch.ones(2, 1, 8, 8, 8)).shape, @net(torch.ones(1, 1, 8, 8, 8)).dtype",
            "((2, 2, 8, 8, 8), torch.float32)",
        ),
    ] {
        let found = evaluate(text, folder.path()).map_or_else(|error| format!("error: {error}"), |v| format!("{v:?}"));
        assert_eq!(found, wanted, "{text}");
    }
}

#[test]
fn mistakes_with_objects_of_a_run_say_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path());
    for (text, message) in [
        ("@ds[3]", "Dataset: index 3 is out of range for 3 cases"),
        ("@ds['image']", "Dataset: expected an int as index, found str"),
        ("@prep('DIR/i1.nii')", "Compose: expected a dict such as {'image': 'a.nii.gz'}, found str"),
        ("@net(3)", "SegResNet: expected a tensor, found int"),
        ("@net(torch.zeros(1, 8, 8, 8))", "SegResNet: expected a tensor [N,C,X,Y,Z], found shape [1, 8, 8, 8]"),
        ("@simple(torch.zeros(1, 1, 8, 8, 8), 5)", "SimpleInferer: expected a network, found int"),
    ] {
        let error = evaluate(text, folder.path()).map(|value| format!("{value:?}")).expect_err(text);
        assert!(error.message().contains(message), "{text}: {}", error.message());
    }
}
