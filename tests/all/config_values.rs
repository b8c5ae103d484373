//! Values that expressions get from the whole table of names: enums, random tensors, checkpoints, subsets.

use crate::common::program;
use segbundle::bundle::expr::{self, Env};
use segbundle::checkpoint;
use segbundle::component::{BuildContext, Value};
use segbundle::error::{Error, Kind};
use segbundle::registry;
use std::collections::HashMap;
use std::sync::Arc;
use tch::Tensor;

fn evaluate(text: &str) -> Result<Value, Error> {
    let imports = ["os", "copy", "functools", "logging", "glob"].map(|name| (name.to_owned(), name.to_owned())).into();
    let env = Arc::new(Env { references: HashMap::new(), imports: Arc::new(imports), table: registry::table() });
    expr::eval(&Arc::new(expr::parse(text)?), &env, &mut BuildContext::default())
}
fn shown(text: &str) -> String {
    evaluate(text).map_or_else(|error| format!("error: {error}"), |value| format!("{value:?}"))
}
fn failure(text: &str) -> Error {
    evaluate(text).map(|value| format!("{value:?}")).expect_err(text)
}

/// Results as MONAI 1.6.1 gives them, but for the quotes: `repr` of a member is its bare text there.
#[test]
fn a_member_of_an_enum_is_its_string_and_knows_its_name() {
    for (text, wanted) in [
        ("monai.utils.CommonKeys.IMAGE", "'image'"),
        ("monai.utils.InterpolateMode.BILINEAR.value", "'bilinear'"),
        ("monai.utils.InterpolateMode.BILINEAR.name", "'BILINEAR'"),
        ("monai.utils.enums.GanKeys.GLOSS.value + '_x'", "'g_loss_x'"),
        ("monai.utils.SplineMode.THREE.value, monai.utils.SplineMode.THREE.name", "('3', 'THREE')"),
        (
            "monai.utils.CommonKeys.PRED == 'pred', 'pred' == monai.utils.CommonKeys.PRED, monai.utils.CommonKeys.PRED == 'x'",
            "(True, True, False)",
        ),
        ("monai.utils.GridSampleMode.NEAREST == monai.utils.InterpolateMode.NEAREST", "True"),
        ("{monai.utils.CommonKeys.IMAGE: 1}['image'], {'image': 2}[monai.utils.CommonKeys.IMAGE]", "(1, 2)"),
        ("[k.name for k in (monai.utils.CommonKeys.IMAGE, monai.utils.CommonKeys.LABEL)]", "['IMAGE', 'LABEL']"),
        ("list({monai.utils.CommonKeys.LABEL: 1})[0].name", "'LABEL'"),
        (
            "f'{monai.utils.BlendMode.GAUSSIAN}', '%s' % monai.utils.BlendMode.GAUSSIAN, str(monai.utils.BlendMode.GAUSSIAN)",
            "('gaussian', 'gaussian', 'gaussian')",
        ),
        (
            "monai.utils.CommonKeys.IMAGE.upper(), isinstance(monai.utils.CommonKeys.IMAGE, str), len(monai.utils.CommonKeys.IMAGE)",
            "('IMAGE', True, 5)",
        ),
        ("monai.utils.CommonKeys.IMAGE.value, monai.utils.CommonKeys.IMAGE.name", "('image', 'IMAGE')"),
        (
            "monai.utils.MetaKeys.SPATIAL_SHAPE, monai.utils.enums.DataStatsKeys.SUMMARY",
            "('spatial_shape', 'stats_summary')",
        ),
    ] {
        assert_eq!(shown(text), wanted, "{text}");
    }
    // An equal string is no member.
    for text in
        ["'image'.value", "monai.utils.CommonKeys.IMAGE.value.value", "monai.utils.CommonKeys.IMAGE.lower().name"]
    {
        assert!(failure(text).message().contains("'str' object has no attribute"), "{text}");
    }
    assert!(failure("monai.utils.CommonKeys.IMGE").get_hint().unwrap().contains("`monai.utils.CommonKeys.IMAGE`"));
}

#[test]
fn random_tensors_have_their_shape_type_and_range() {
    for (text, wanted) in [
        (
            "torch.rand(2, 3).shape, torch.rand([2, 3]).dtype, torch.rand(size=(4,)).shape, torch.rand(()).shape",
            "((2, 3), torch.float32, (4,), ())",
        ),
        ("torch.randn([1] + [4, 4, 4]).to(torch.device('cpu')).shape", "(1, 4, 4, 4)"),
        ("(lambda x: bool(x.min() >= 0 and x.max() < 1))(torch.rand(1000))", "True"),
        ("torch.rand(2, 5).shape, torch.randn(2, dtype=torch.float64).dtype", "((2, 5), torch.float64)"),
    ] {
        assert_eq!(shown(text), wanted, "{text}");
    }
    for (text, message) in [
        ("torch.rand(10**6, 10**6)", "too large"),
        ("torch.rand(-1)", "negative size -1"),
        ("torch.rand()", "needs argument `size`"),
        ("torch.rand(2, dtype=torch.int64)", "expected a float type"),
        ("torch.randn(10**12)", "too large"),
        ("[torch.rand(10**7) for _ in range(10**6)]", "too many steps"),
    ] {
        assert!(failure(text).message().contains(message), "{text}: {}", failure(text));
    }
}

#[test]
fn a_checkpoint_is_a_value_and_loads_into_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    let at = |text: &str| text.replace("FILE", path.to_str().unwrap());
    let network = "monai.networks.nets.SegResNet(spatial_dims=3, init_filters=8, in_channels=1, out_channels=2, blocks_down=[1], blocks_up=[])";
    let handle = evaluate(network).unwrap().downcast::<segbundle::contracts::NetworkHandle>().unwrap();
    let mut tensors: Vec<(String, Tensor)> = handle
        .0
        .lock()
        .state()
        .tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), Tensor::ones_like(tensor)))
        .collect();
    checkpoint::save(&path, &tensors).unwrap();
    for (text, wanted) in [
        (
            "torch.load('FILE', map_location=torch.device('cpu'), weights_only=True)['convInit.conv.weight'].shape",
            "(8, 1, 3, 3, 3)",
        ),
        ("torch.load('FILE')['convInit.conv.weight'].sum().item()", "216.0"),
        (
            "torch.load('FILE', weights_only=False)['conv_final.0.bias' if False else 'convInit.conv.weight'].dtype",
            "torch.float32",
        ),
        ("len(torch.load('FILE')) == len({**torch.load('FILE')})", "True"),
    ] {
        assert_eq!(shown(&at(text)), wanted, "{text}");
    }
    evaluate(&at(&format!("{network}.load_state_dict(torch.load('FILE'))"))).unwrap();
    // All ones arrive: every weight of a loaded network is the file's.
    let loaded =
        evaluate(&at(&format!("(n := {network}).load_state_dict(torch.load('FILE'), strict=True) and n"))).unwrap();
    let loaded = loaded.downcast::<segbundle::contracts::NetworkHandle>().unwrap();
    assert!(
        loaded.0.lock().state().tensors.values().all(|tensor| tensor
            .eq_tensor(&Tensor::ones_like(tensor))
            .all()
            .int64_value(&[])
            == 1)
    );

    tensors.truncate(1);
    tensors.push(("stranger".into(), Tensor::from_slice(&[1.0f32])));
    checkpoint::save(&path, &tensors).unwrap();
    let error = failure(&at(&format!("{network}.load_state_dict(torch.load('FILE'))")));
    assert!(error.to_string().contains("stranger"), "{error}");
    evaluate(&at(&format!("{network}.load_state_dict(torch.load('FILE'), strict=False)"))).unwrap();
    assert!(
        failure(&at("torch.load('FILE.missing')"))
            .to_string()
            .contains("FILE.missing".replace("FILE", path.to_str().unwrap()).as_str())
    );
    std::fs::write(&path, b"no checkpoint").unwrap();
    assert!(failure(&at("torch.load('FILE')")).message().contains("expected a checkpoint"));
    let error = failure(&format!("{network}.load_state_dict([1])"));
    assert!(error.message().contains("expected dict of tensors, found list"), "{error}");
}

/// Larger than an expression computes with: its shape can be seen, and a network takes it.
#[test]
fn a_large_tensor_of_a_checkpoint_stays_a_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.pt");
    let tensor = Tensor::zeros([300, 300], (tch::Kind::Half, tch::Device::Cpu));
    checkpoint::save(&path, &[("w".to_owned(), tensor)]).unwrap();
    let text = format!(
        "(lambda w: (w.shape, w.dtype, w.numel(), len(w), w.to('cpu').ndim, str(w)))(torch.load('{}')['w'])",
        path.display()
    );
    assert_eq!(shown(&text), "((300, 300), torch.float16, 90000, 300, 2, '<Tensor of shape [300, 300]>')");
}

#[test]
fn a_subset_has_the_chosen_items() {
    for (text, wanted) in [
        ("list(torch.utils.data.Subset([10, 20, 30], [2, 0]))", "[30, 10]"),
        (
            "len(torch.utils.data.Subset(np.arange(10), np.arange(3))), torch.utils.data.Subset(np.arange(10), [7])[0].item()",
            "(3, 7)",
        ),
        ("torch.utils.data.Subset([1, 2, 3], [-1])[-1]", "3"),
        ("len(torch.utils.data.Subset(monai.data.Dataset([{'image': 'a'}, {'image': 'b'}]), indices=[1]))", "1"),
        (
            "len(monai.data.DataLoader(torch.utils.data.Subset(monai.data.Dataset([{'image': 'a'}] * 5), [0, 1, 4]), batch_size=2))",
            "2",
        ),
    ] {
        assert_eq!(shown(text), wanted, "{text}");
    }
    let error = failure("torch.utils.data.Subset([1, 2], [2])");
    assert!(
        error.message().contains("index 2 is out of range for 2 items") && error.get_kind() == Kind::Config,
        "{error}"
    );
    assert!(failure("torch.utils.data.Subset(5, [0])").message().contains("expected a dataset, list or array"));
    assert!(failure("torch.utils.data.Subset([1], [0])[5]").message().contains("index 5 is out of range"));
}

/// Functions that go through an argument use the steps and the depth of the expression, whatever the argument is.
#[test]
fn iterators_given_to_functions_count_their_steps() {
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
        for (text, message) in [
            ("(f := lambda n: np.array([f(x) for x in (y for y in [n])]))(0)", "nested too deeply"),
            ("(f := lambda n: monai.utils.first(f(x) for x in [n]))(0)", "nested too deeply"),
            ("[monai.utils.first(1 for x in range(10**5) if x < 0) for _ in range(10**6)]", "too many steps"),
            ("[torch.zeros(x for x in range(10**5) if x < 0) for _ in range(10**6)]", "expected list"),
            ("print(*range(10**6), sep='x' * 10**6)", "too many steps"),
            ("logging.getLogger('.' * 10**6)", "at most 500 bytes"),
            ("(t := (1,)) and [(t := (t, t)) for _ in range(60)] and copy.deepcopy(t)", "too many steps"),
            ("(x := 1) and [(x := monai.data.Dataset([x])) for _ in range(10**6)]", "too many steps"),
            ("(x := print) and [(x := functools.partial(x)) for _ in range(10**5)] and x()", "nested too deeply"),
        ] {
            let start = std::time::Instant::now();
            let error = failure(text);
            assert!(error.message().contains(message), "{text}: {error}");
            assert!(start.elapsed().as_secs() < 20, "{text} took {:?}", start.elapsed());
        }
    });
    worker.unwrap().join().unwrap();
}

/// In a process of its own, since the generator is the process's. The numbers are torch 2.11's after MONAI's
/// `set_determinism(seed=5)`.
#[test]
fn seeded_random_tensors_are_torchs() {
    let rows = [
        ("torch.rand(2, 2)", "tensor([[0.8302519, 0.12611091], [0.9074697, 0.81992704]], dtype=torch.float32)"),
        (
            "torch.randn([2, 3])",
            "tensor([[-0.48678076, -0.6038216, -0.55809623], [0.6675243, -0.1974151, 1.9427835]], dtype=torch.float32)",
        ),
        ("round(torch.randn(20).sum().item(), 4)", "2.7503"),
        (
            "torch.rand(3, dtype=torch.float64)",
            "tensor([0.6420150066280941, 0.2597579151763153, 0.36082761942715424], dtype=torch.float64)",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let steps: Vec<String> = rows
        .iter()
        .flat_map(|(text, _)| ["\"$monai.utils.set_determinism(seed=5)\"".to_owned(), format!("\"$print({text})\"")])
        .collect();
    std::fs::write(folder.path().join("c.json"), format!("{{\"run\": [{}]}}", steps.join(", "))).unwrap();
    let output = program(folder.path()).args(["run", "--config_file", "c.json"]).output().unwrap();
    let wanted: String = rows.iter().map(|(_, wanted)| format!("{wanted}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn cudnn_settings_read_back() {
    let object = registry::table().lookup("torch.backends.cudnn").unwrap();
    let Value::Object(object) = &object else { panic!("no object") };
    for on in [true, false] {
        object.set_attr("benchmark", on.into()).unwrap();
        assert_eq!(evaluate("torch.backends.cudnn.benchmark").unwrap(), Value::Bool(on));
    }
    assert!(object.set_attr("benchmrk", true.into()).is_err());
}
