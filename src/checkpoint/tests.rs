//! Tests with files written by torch (tests/data/checkpoints/make.py), by this module, and with damaged files.

use super::*;
use std::path::PathBuf;
use tch::Device;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints").join(name)
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).contiguous().view(-1)).unwrap()
}

#[test]
fn a_flat_state_dict_of_torch() {
    let tensors = load(data("flat.pt")).unwrap().state_dict(None).unwrap();
    let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    let first = ["plain", "transposed", "row", "param", "scalar", "empty"];
    let types = ["float64", "float16", "bfloat16", "int32", "int16", "int8", "uint8", "bool"];
    assert_eq!(names, [&first[..], &types[..]].concat());
    let get = |name: &str| &tensors.iter().find(|(known, _)| known == name).unwrap().1;
    assert_eq!(numbers(get("plain")), (0..12).map(|i| f64::from(i) / 4.0).collect::<Vec<_>>());
    assert_eq!((get("transposed").size(), get("transposed").stride()), (vec![4, 3], vec![1, 4]));
    assert_eq!(numbers(get("transposed"))[..4], [0.0, 4.0, 8.0, 1.0]);
    assert_eq!(numbers(get("row")), [4.0, 5.0, 6.0, 7.0]);
    // Both tensors share a storage: a write to one changes the other.
    let _ = get("row").shallow_clone().fill_(9.0);
    assert_eq!(numbers(get("transposed"))[1], 9.0);
    assert_eq!(
        (numbers(get("param")), get("scalar").size(), get("empty").size()),
        (vec![1.5, -2.0], vec![], vec![0, 3])
    );
    for (name, kind) in types.iter().zip([
        Kind::Double,
        Kind::Half,
        Kind::BFloat16,
        Kind::Int,
        Kind::Int16,
        Kind::Int8,
        Kind::Uint8,
        Kind::Bool,
    ]) {
        assert_eq!(get(name).kind(), kind);
        assert_eq!(numbers(get(name)), if kind == Kind::Bool { [0.0, 1.0, 1.0] } else { [0.0, 1.0, 5.0] });
    }
}

#[test]
fn a_training_state_of_torch() {
    let checkpoint = load(data("training.pt")).unwrap();
    let model = checkpoint.state_dict(None).unwrap();
    assert_eq!(model.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["weight", "bias"]);
    assert!(checkpoint.state_dict(Some("model")).is_ok());
    let error = checkpoint.state_dict(Some("network")).unwrap_err();
    assert!(error.get_hint().unwrap().contains("`model`, `optimizer`"), "{error}");
    let error = checkpoint.state_dict(Some("optimizer")).unwrap_err();
    assert!(error.message().contains("expected a tensor under `state`, found dict"), "{error}");

    let state = checkpoint.state().unwrap();
    assert!(
        matches!(state.get("epoch"), Some(StateDict::Int(3)))
            && matches!(state.get("big"), Some(StateDict::Int(n)) if *n == 1 << 40)
    );
    assert!(
        matches!(state.get("losses"), Some(StateDict::List(items)) if matches!(items[..], [StateDict::Float(_), StateDict::None, StateDict::Bool(true)]))
    );
    assert!(
        matches!(state.get("shape"), Some(StateDict::Tuple(items)) if matches!(items[..], [StateDict::Int(3), StateDict::Int(4)]))
    );
    assert!(matches!(state.get("classes"), Some(StateDict::Set(items)) if items.len() == 2));
    let Some(StateDict::List(groups)) = state.get("optimizer").unwrap().get("param_groups") else { panic!() };
    assert!(matches!(groups[0].get("lr"), Some(StateDict::Float(lr)) if *lr == 1e-3));
    let Some(StateDict::Dict(parameters)) = state.get("optimizer").unwrap().get("state") else { panic!() };
    // One AdamW step from a gradient of ones: exp_avg = (1 - 0.9)·1.
    let Some(StateDict::Tensor(average)) = parameters[1].1.get("exp_avg") else { panic!() };
    assert!(numbers(average).iter().all(|value| (value - 0.1).abs() < 1e-7));
}

#[test]
fn other_nesting_and_other_files() {
    assert_eq!(load(data("nested.pt")).unwrap().state_dict(None).unwrap()[0].0, "w");
    let error = |name: &str| load(data(name)).map(drop).unwrap_err();
    assert!(error("script.pt").message().contains("TorchScript"));
    let module = error("module.pt");
    assert!(
        module.message().contains("`torch.nn.modules.linear.Linear`") && module.message().contains("not run"),
        "{module}"
    );
    assert!(module.get_file().unwrap().ends_with("module.pt"));
    assert!(error("make.py").message().contains("unknown format"));
    assert!(error("none.pt").message().contains("cannot read"));
}

/// legacy.pt contains two of the tensors of flat.pt.
#[test]
fn files_of_torch_before_1_6_are_read() {
    let flat = load(data("flat.pt")).unwrap().state_dict(None).unwrap();
    let tensors = load(data("legacy.pt")).unwrap().state_dict(None).unwrap();
    assert_eq!(tensors.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["plain", "row"]);
    for (name, tensor) in &tensors {
        let expected = &flat.iter().find(|(known, _)| known == name).unwrap().1;
        assert!(tensor.kind() == expected.kind() && tensor.equal(expected), "{name}");
    }
    assert!(load(data("legacy.pt")).unwrap().state().is_ok());
}

#[test]
fn damaged_files_of_torch_before_1_6_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.pt");
    let whole = std::fs::read(data("legacy.pt")).unwrap();
    let attempt = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        load(&path).and_then(|checkpoint| checkpoint.state_dict(None))
    };
    assert!(attempt(&whole).is_ok());
    for length in 0..whole.len() {
        assert!(attempt(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
    }
    let mut longer = whole.clone();
    // The length of the last storage in elements precedes its bytes: `row` and `plain` have 12 elements of f32.
    let at = whole.len() - 12 * 4 - 8;
    longer[at + 5] = 1;
    let error = attempt(&longer).unwrap_err();
    assert!(error.message().contains("expected 12 elements in storage"), "{error}");
    for at in (0..whole.len()).step_by(3) {
        let mut changed = whole.clone();
        changed[at] = changed[at].wrapping_add(101);
        let _ = attempt(&changed);
    }
}

#[test]
fn what_is_saved_is_loaded_and_equal_tensors_give_equal_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let ramp = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([2, 3, 4]);
    let mut tensors: Vec<(String, Tensor)> =
        KINDS.iter().map(|(kind, ..)| (format!("{kind:?}"), ramp.to_kind(*kind))).collect();
    tensors.push(("transposed".into(), ramp.transpose(0, 2)));
    tensors.push(("scalar".into(), Tensor::from(7i64)));
    tensors.push(("empty".into(), Tensor::zeros([0, 3], (Kind::Float, Device::Cpu))));
    tensors.push(("requires grad".into(), ramp.set_requires_grad(true)));
    let (a, b) = (folder.path().join("a.pt"), folder.path().join("b.pt"));
    save(&a, &tensors).unwrap();
    let read = load(&a).unwrap().state_dict(None).unwrap();
    assert_eq!(read.len(), tensors.len());
    for ((name, tensor), (read_name, read)) in tensors.iter().zip(&read) {
        assert_eq!((name, tensor.kind(), tensor.size()), (read_name, read.kind(), read.size()));
        assert!(tensor.detach().equal(read), "{name}");
    }
    let shapes: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.size())).collect();
    assert_eq!(load(&a).unwrap().shapes(None).unwrap(), shapes);
    save(&b, &read).unwrap();
    assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
}

#[test]
fn nested_states_make_the_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.pt");
    let group = StateDict::dict([
        ("lr", StateDict::Float(1e-4)),
        ("betas", StateDict::Tuple(vec![StateDict::Float(0.9), StateDict::Float(0.999)])),
        (
            "params",
            StateDict::List(vec![StateDict::Int(0), StateDict::Int(300), StateDict::Int(-1), StateDict::Int(1 << 40)]),
        ),
        ("names", StateDict::Set(vec![StateDict::Str("größe".into())])),
        ("rng", StateDict::Bytes((0..=255).collect())),
        ("none", StateDict::None),
        ("flag", StateDict::Bool(true)),
    ]);
    let state = StateDict::Dict(vec![
        (StateDict::Int(0), StateDict::List(vec![group])),
        (StateDict::Str("t".into()), StateDict::Tensor(Tensor::from(0.5f32))),
    ]);
    save_state(&path, &state).unwrap();
    let read = load(&path).unwrap().state().unwrap();
    assert_eq!(format!("{read:?}"), format!("{state:?}"));
}

#[test]
fn damaged_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.pt");
    let whole = std::fs::read(data("flat.pt")).unwrap();
    let attempt = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        load(&path).and_then(|checkpoint| checkpoint.state_dict(None))
    };
    assert!(attempt(&whole).is_ok());
    assert!(attempt(&whole[..whole.len() / 2]).unwrap_err().message().contains("damaged"));
    // A changed tensor value is detected by the zip checksum. 1.25f32 occurs once, in `plain`.
    let mut changed = whole.clone();
    let at = changed.windows(4).position(|window| window == 1.25f32.to_le_bytes()).unwrap();
    changed[at] ^= 1;
    let error = attempt(&changed).unwrap_err();
    assert!(error.message().contains("damaged") && error.message().contains("`plain`"), "{error}");
    for at in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[at] = changed[at].wrapping_add(101);
        let _ = attempt(&changed);
    }
}

/// Compares tiny_flat.pt and tiny_tree.pt with every array of checkpoint.npz.
#[test]
#[ignore = "needs checkpoints of torch: SEGBUNDLE_CHECKPOINTS=FOLDER"]
fn reference_checkpoints_of_torch() {
    let folder =
        std::env::var_os("SEGBUNDLE_CHECKPOINTS").expect("SEGBUNDLE_CHECKPOINTS names the folder of tiny_flat.pt");
    let folder = PathBuf::from(folder);
    let expected = Tensor::read_npz(folder.join("checkpoint.npz")).unwrap();
    for name in ["tiny_flat.pt", "tiny_tree.pt"] {
        let tensors = load(folder.join(name)).unwrap().state_dict(None).unwrap();
        assert_eq!(tensors.len(), expected.len(), "{name}");
        for (key, expected) in &expected {
            let found = &tensors.iter().find(|(known, _)| known == key).unwrap().1;
            assert!(
                found.to_kind(Kind::Float).reshape(-1).equal(&expected.to_kind(Kind::Float).reshape(-1)),
                "{name}: {key}"
            );
        }
    }
}
