//! The expressions of published bundles: how many evaluate, and why the others do not.
//!
//! The list is not part of the project: the environment variable `PUBLISHED_EXPRESSIONS` names its file, with one
//! expression per line. Shapes of expressions in our own words are in `src/language/tests/expression_shapes.txt`.
//! References get stand-ins by name: files and folders in a temporary folder, numbers, lists, dicts, tensors, and the
//! parts that segbundle builds. Every expression that gives no value must be explained below, and the numbers are
//! fixed, so that a name that gets lost fails the test.

use segbundle::bundle::expr::{self, Env};
use segbundle::component::{Args, BuildContext, Value};
use segbundle::contracts::NetworkHandle;
use segbundle::error::Error;
use segbundle::formats::nifti;
use segbundle::image::{Affine, DType, Layout, Voxels};
use segbundle::registry;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// All lines without their `$`.
fn published() -> Vec<String> {
    let path = std::env::var_os("PUBLISHED_EXPRESSIONS").expect("PUBLISHED_EXPRESSIONS names the file of expressions");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines: Vec<String> = text.lines().filter_map(|line| line.strip_prefix('$')).map(str::to_owned).collect();
    assert_eq!(lines.len(), 483);
    lines
}

#[test]
#[ignore = "needs the list of published expressions, which is not part of the project"]
fn published_expressions_parse() {
    let failures: Vec<String> =
        published().iter().filter_map(|line| expr::parse(line).err()).map(|error| error.to_string()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

// ---------------------------------------------------------------- stand-ins

/// Names as the import statements of the same bundles bind them.
static IMPORTS: LazyLock<Arc<BTreeMap<String, String>>> = LazyLock::new(|| {
    const NAMES: &[(&str, &str)] = &[
        ("Events", "ignite.engine.Events"),
        ("Image", "PIL.Image"),
        ("Path", "pathlib.Path"),
        ("copy", "copy"),
        ("datetime", "datetime"),
        ("dist", "torch.distributed"),
        ("functools", "functools"),
        ("glob", "glob"),
        ("ignite", "ignite"),
        ("json", "json"),
        ("logging", "logging"),
        ("ndimage", "scipy.ndimage"),
        ("np", "numpy"),
        ("numpy", "numpy"),
        ("os", "os"),
        ("partial", "functools.partial"),
        ("pathlib", "pathlib"),
        ("pd", "pandas"),
        ("plt", "matplotlib.pyplot"),
        ("scripts", "scripts"),
        ("skimage", "skimage"),
        ("sys", "sys"),
        ("torch", "torch"),
        ("torchvision", "torchvision"),
        ("trt_compile", "monai.networks.trt_compile"),
        ("visualize_2d_image", "scripts.utils.visualize_2d_image"),
    ];
    Arc::new(NAMES.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect())
});

/// An expression's value with these references.
fn evaluate(text: &str, references: HashMap<String, Value>) -> Result<Value, Error> {
    let mut imports = IMPORTS.clone();
    // Some bundles import the module, others the class of the same name.
    if text.starts_with("datetime.now") {
        Arc::make_mut(&mut imports).insert("datetime".into(), "datetime.datetime".into());
    }
    let env = Arc::new(Env { references, imports, table: registry::table() });
    expr::eval(&Arc::new(expr::parse(text)?), &env, &mut BuildContext::default())
}

const NETWORK: &str = "monai.networks.nets.SegResNet(spatial_dims=3, init_filters=8, in_channels=1, out_channels=2)";

/// What each reference stands for, as an expression; `DIR` is the temporary folder.
const STAND_INS: &[(&[&str], &str)] = &[
    // Files and folders.
    (
        &[
            "bundle_root",
            "dataset_dir",
            "output_dir",
            "ckpt_dir",
            "model_dir",
            "ckpt_dir_stage0",
            "ckpt_dir_stage1",
            "ckpt_path",
            "input_dir",
            "results_dir",
        ],
        "'DIR'",
    ),
    (
        &[
            "metadata_path",
            "dataset_json",
            "data_list_file_path",
            "data_json",
            "test_json",
            "train_json",
            "val_json",
            "dataset_file",
        ],
        "'DIR/dataset.json'",
    ),
    (&["data_fp", "test_fp", "train_fp", "val_fp"], "open('DIR/dataset.json', 'r', encoding='utf8')"),
    (
        &[
            "load_autoencoder_path",
            "load_diffusion_path",
            "trained_autoencoder_path",
            "trained_controlnet_path",
            "trained_diffusion_path",
            "trained_mask_generation_autoencoder_path",
            "trained_mask_generation_diffusion_path",
            "arch_ckpt_path",
            "load_autoencoder",
            "pretrained_ckpt_path",
            "checkpoint",
        ],
        "'DIR/models/model.pt'",
    ),
    (&["file_pattern", "input_suffix"], "'*.nii.gz'"),
    (&["modelname"], "'model.pt'"),
    (&["output_filename"], "'sample.nii.gz'"),
    (&["centroids"], "['DIR/dataset.json'] * 20"),
    (
        &[
            "imgs",
            "lbls",
            "images",
            "labels",
            "val_images",
            "val_labels",
            "test_imagelist",
            "test_labellist",
            "train_images",
            "train_inst_map",
            "train_type_map",
            "val_inst_map",
            "val_type_map",
            "input_list",
            "data_list",
        ],
        "[f'DIR/img{i}.jpg' for i in range(20)]",
    ),
    (
        &["datalist", "train_datalist", "val_datalist", "test_datalist", "all_pairs", "data_dict"],
        "[{'image': f'DIR/img{i}.nii.gz', 'label': f'DIR/lbl{i}.nii.gz'} for i in range(20)]",
    ),
    // Settings.
    (
        &[
            "cache_cls_idx::activate",
            "lr_schedule::activate",
            "early_stop",
            "finetune",
            "load_pretrain",
            "save_pred",
            "use_tensorboard",
            "whether_raw_luna16",
            "cross_subjects",
            "is_dist",
            "head_trt_enabled",
            "displayable_configs::highres",
        ],
        "False",
    ),
    (&["cache_cls_idx::indices_key", "image", "image_key"], "'image'"),
    (&["label"], "'label'"),
    (&["pred"], "'pred'"),
    (&["output_postfix"], "'trans'"),
    (
        &[
            "epochs",
            "num_iters",
            "batch_size",
            "data_loader::batch_size",
            "val::data_loader::batch_size",
            "patch_size",
            "out_size",
            "sw_batch_size",
            "inferer::sw_batch_size",
            "max_prompt_size",
            "num_classes",
            "output_classes",
            "number_intensity_ch",
            "n_train_samples",
            "n_val_samples",
            "num_samples",
            "input_channels",
            "scale_factor",
        ],
        "4",
    ),
    (&["rank", "stage", "fold", "channel"], "0"),
    (
        &[
            "infer_patch_size",
            "train_patch_size",
            "val_patch_size",
            "output_size",
            "latent_size",
            "latent_shape",
            "grid_shape",
        ],
        "[8, 8, 8]",
    ),
    (&["label_names", "label_set", "val_label_set", "everything_labels", "sub_keys"], "[1, 2, 3]"),
    (&["label_mappings::default"], "[[1, 1], [2, 2]]"),
    (&["partitions"], "[[0, 1], [2]]"),
    (&["metadata"], "{'network_data_format': {'outputs': {'pred': {'channel_def': {'0': 'background'}}}}}"),
    (&["arch_ckpt"], "{'arch_code_a': 1, 'arch_code_c': 2, 'node_a': np.ones((2, 3))}"),
    (&["npz"], "np.arange(10)"),
    (&["device"], "torch.device('cpu')"),
    // Tensors and batches of them.
    (&["input_img", "recon_img"], "torch.zeros(1, 1, 8, 8)"),
    (&["first_pair"], "{'image': torch.zeros(1, 2, 8, 8)}"),
    (&["train_sub"], "[{'image': torch.zeros(1, 8, 8)}]"),
    (&["dataloader", "data_loader"], "[{'image': torch.zeros(1, 8, 8)}]"),
    (
        &["checkpoint_diffusion_unet", "checkpoint_mask_generation_diffusion_unet"],
        "{'scale_factor': torch.tensor(1.5), 'unet_state_dict': {}}",
    ),
    (&["input_dict"], "{'image': 'DIR/img0.nii.gz'}"),
    (&["train_dataset", "cache_datasets", "val::cache_datasets", "datasets"], "[[{'image': torch.zeros(1, 8)}], [1]]"),
    (&["encoder", "head", "create_output_dir", "resample_to_spacing"], "None"),
    // Lists of parts.
    (
        &[
            "base_transforms",
            "train_transforms",
            "val_transforms",
            "image_load",
            "image_aug",
            "preprocessing_transforms",
            "crop_transforms",
            "final_transforms",
            "deepedit_transforms",
            "extra_transforms",
            "train::crop_transforms",
            "train::preprocessing_transforms",
            "train::deepedit_transforms",
            "train::final_transforms",
            "train::random_transforms",
            "train::deterministic_transforms",
            "transforms",
            "validate::preprocessing_transforms",
        ],
        "[monai.transforms.EnsureChannelFirstd(keys='image')]",
    ),
    (
        &[
            "preprocessing",
            "validate::preprocessing",
            "train::postprocessing",
            "train::postprocessing_np",
            "postprocessing",
            "valid_remap",
        ],
        "monai.transforms.Compose([monai.transforms.EnsureChannelFirstd(keys='image')])",
    ),
    (
        &[
            "handlers",
            "ckpt_loader",
            "train::handlers",
            "train::extra_handlers",
            "train::train_handlers",
            "validate::handlers",
        ],
        "[monai.handlers.StatsHandler(iteration_log=False)] * 4",
    ),
    (&["ckpt"], "'DIR/models/model.pt'"),
    (&["train::dataloader"], "monai.data.DataLoader(monai.data.Dataset([{'image': 'a'}] * 4), batch_size=2)"),
    (&["network", "network_def", "net"], NETWORK),
    (
        &["checkpointloader"],
        "(lambda net: monai.handlers.CheckpointLoader(load_path='DIR/models/model.pt', load_dict={'model': net}))(NETWORK)",
    ),
    (
        &["evaluator", "validate::evaluator"],
        "monai.engines.SupervisedEvaluator(device=torch.device('cpu'), network=NETWORK, inferer=monai.inferers.SimpleInferer(), \
         val_data_loader=monai.data.DataLoader(monai.data.Dataset([{'image': 'DIR/image.nii.gz'}], monai.transforms.Compose([\
         monai.transforms.LoadImaged(keys='image'), monai.transforms.EnsureChannelFirstd(keys='image')])), batch_size=1))",
    ),
];

/// A reference's value; `None` if nothing stands in for it.
fn stand_in(id: &str, folder: &Path) -> Option<Value> {
    let (_, text) = STAND_INS.iter().find(|(ids, _)| ids.contains(&id))?;
    let text = text.replace("NETWORK", NETWORK).replace("DIR", folder.to_str().unwrap());
    Some(evaluate(&text, HashMap::new()).unwrap_or_else(|error| panic!("the stand-in for `{id}`: {error}")))
}

/// Files that the expressions read: a list of cases, an image, the weights of the network that stands in.
fn world() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let cases = r#"[{"image": "img0.nii.gz", "label": "lbl0.nii.gz"}]"#;
    let list = format!(r#"{{"training": {cases}, "validation": {cases}, "testing": [{{"image": "img1.nii.gz"}}]}}"#);
    std::fs::write(path("dataset.json"), list).unwrap();
    std::fs::create_dir(path("models")).unwrap();
    let network = stand_in("network", folder.path()).unwrap().downcast::<NetworkHandle>().unwrap();
    let state: Vec<_> =
        network.0.lock().state().tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
    segbundle::checkpoint::save(path("models/model.pt"), &state).unwrap();
    let grid = Layout::contiguous([1, 16, 16, 16]);
    let options = nifti::Options::default();
    nifti::write(
        path("image.nii.gz"),
        &Voxels::F32(vec![0.0; 4096].into()),
        &grid,
        &Affine::IDENTITY,
        DType::F32,
        options,
    )
    .unwrap();
    folder
}

/// Why an expression gives no value here, by a part of its text; the first that fits counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lacks {
    /// A module that is none of those whose names are here: PIL, pandas, matplotlib, TensorRT, a bundle's own Python.
    Module,
    /// A component of MONAI's or torch's that segbundle does not build: trainers, detectors, diffusion.
    Component,
    /// A run over several processes, started by torchrun.
    Processes,
}

const REASONS: &[(Lacks, &str)] = &[
    (Lacks::Module, "Image.fromarray("),
    (Lacks::Module, "_img_pil.save("),
    (Lacks::Module, "pd.read_csv("),
    (Lacks::Module, "plt."),
    (Lacks::Module, "scripts."),
    (Lacks::Module, "trt_compile("),
    (Lacks::Component, "monai.apps."),
    (Lacks::Component, "monai.auto3dseg."),
    (Lacks::Component, "monai.data.PILReader"),
    (Lacks::Component, "monai.networks."),
    (Lacks::Component, "@autoencoder"),
    (Lacks::Component, "@controlnet"),
    (Lacks::Component, "@data.create_dataset("),
    (Lacks::Component, "@detector."),
    (Lacks::Component, "@diffusion"),
    (Lacks::Component, "@discriminator"),
    (Lacks::Component, "@dnetwork"),
    (Lacks::Component, "@gnetwork."),
    (Lacks::Component, "@ldm_sampler."),
    (Lacks::Component, "@mask_generation_"),
    (Lacks::Component, "@noise_scheduler."),
    (Lacks::Component, "@perceptual_loss_def."),
    (Lacks::Component, "@preprocessing.set_random_state("),
    (Lacks::Component, "@saver_"),
    (Lacks::Component, "@train#trainer"),
    (Lacks::Component, "@trainer"),
    (Lacks::Component, ".load_old_state_dict("),
    (Lacks::Component, ".logger.setLevel("),
    (Lacks::Component, ".meta["),
    (Lacks::Component, ".state.metric_details["),
    (Lacks::Component, "torch.jit.load("),
    (Lacks::Processes, "dist."),
    (Lacks::Processes, "os.environ['LOCAL_RANK']"),
];

#[test]
#[ignore = "needs the list of published expressions, which is not part of the project"]
fn published_expressions_evaluate_or_lack_something_known() {
    let lines = published();
    let folder = world();
    let (mut evaluated, mut lacking, mut gaps) = (0, BTreeMap::new(), vec![]);
    let mut used = vec![false; REASONS.len()];
    for text in &lines {
        let references = expr::parse(text).unwrap().references().to_vec();
        let known: HashMap<String, Value> = references
            .iter()
            .filter_map(|reference| Some((reference.id.clone(), stand_in(&reference.id, folder.path())?)))
            .collect();
        let error = match evaluate(text, known) {
            Ok(_) => {
                evaluated += 1;
                continue;
            }
            Err(error) => error,
        };
        match REASONS.iter().position(|(_, part)| text.contains(part)) {
            Some(at) => {
                used[at] = true;
                lacking.entry(REASONS[at].0).or_insert_with(Vec::new).push(text.as_str());
            }
            None => gaps.push(format!("{text}\n    {}", error.message())),
        }
    }
    let counts: Vec<(Lacks, usize)> = lacking.iter().map(|(lacks, texts)| (*lacks, texts.len())).collect();
    println!("{evaluated} of {} evaluate; {counts:?}", lines.len());
    assert!(gaps.is_empty(), "{} without a reason:\n{}", gaps.len(), gaps.join("\n"));
    let unused: Vec<&str> = REASONS.iter().zip(used).filter(|(_, used)| !used).map(|((_, part), _)| *part).collect();
    assert!(unused.is_empty(), "no longer needed: {unused:?}");
    assert_eq!((evaluated, counts), (364, vec![(Lacks::Module, 37), (Lacks::Component, 63), (Lacks::Processes, 19)]));
}

/// Functions that the expressions make are functions: their values for an argument, as Python gives them.
#[test]
fn published_lambdas_can_be_called() {
    for (text, arguments, wanted) in [
        ("lambda x : x[1:]", "([1, 2, 3],)", "[2, 3]"),
        ("lambda current, prev: prev < 0 or current < prev", "(2, 3)", "True"),
        ("lambda x, y: x < y", "(2, 3)", "True"),
        ("lambda x: x * 1e2", "(torch.tensor([1.5]),)", "tensor([150.0], dtype=torch.float32)"),
        ("lambda x: x > 0", "(np.array([-1, 2]),)", "array([False, True], dtype=bool)"),
        ("lambda x: torch.FloatTensor(x)", "([1, 2],)", "tensor([1.0, 2.0], dtype=torch.float32)"),
        (
            "lambda x: torch.nan_to_num(x, nan=255)",
            "(torch.tensor([float('nan'), 1.0]),)",
            "tensor([255.0, 1.0], dtype=torch.float32)",
        ),
        ("lambda x: x.reshape((1, *[2, 2]))", "(np.arange(4),)", "array([[[0, 1], [2, 3]]], dtype=int64)"),
        ("lambda x: monai.handlers.from_engine(['loss'], first=True)(x)[0]", "([{'loss': [0.5]}],)", "0.5"),
        ("lambda t: dict(label=t[1])", "([1, 2],)", "{'label': 2}"),
    ] {
        let function = evaluate(text, HashMap::new()).unwrap_or_else(|error| panic!("{error}"));
        let arguments = evaluate(arguments, HashMap::new()).unwrap().as_sequence().unwrap();
        let value = function
            .call(Args::positional(arguments), &mut BuildContext::default())
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(format!("{value:?}"), wanted, "{text}");
    }
}
