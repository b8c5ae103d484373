//! Facades of Python modules compared with Python.
//!
//! `facades/*.txt` contain lines `EXPRESSION => RESULT`; `facades/make.py` writes the results with Python, NumPy, torch
//! and MONAI. Results are compared as text.

use segbundle_language::bundle::expr::{self, Env};
use segbundle_language::component::{BuildContext, Table, Value};
use segbundle_language::error::Result;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    segbundle_language::python::register(&mut table);
    table
});

/// The modules under their own names, and the usual short names.
static IMPORTS: LazyLock<Arc<BTreeMap<String, String>>> = LazyLock::new(|| {
    let own = ["collections", "copy", "datetime", "functools", "glob", "ignite", "json", "logging"];
    let own = own.into_iter().chain(["math", "monai", "os", "pathlib", "sys", "torch"]).map(|name| (name, name));
    let short = [("np", "numpy"), ("dist", "torch.distributed")];
    Arc::new(own.chain(short).map(|(name, path)| (name.to_owned(), path.to_owned())).collect())
});

fn eval(text: &str) -> Result<Value> {
    evaluate(text, HashMap::new())
}

fn evaluate(text: &str, references: HashMap<String, Value>) -> Result<Value> {
    let env = Arc::new(Env { references, imports: IMPORTS.clone(), table: &TABLE });
    expr::eval(&Arc::new(expr::parse(text)?), &env, &mut BuildContext::default())
}

/// Check every line of a file and report all failures.
fn check(lines: &str, replace: &[(&str, &str)]) {
    let mut failures = vec![];
    for line in lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let line = replace.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to));
        let (text, expected) = line.split_once(" => ").unwrap();
        let found = match eval(text) {
            Ok(value) => format!("{value:?}").replace('\n', "\\n"),
            Err(error) => format!("error: {}", error.message()),
        };
        if found != expected {
            failures.push(format!("{text}\n  python: {expected}\n  found:  {found}"));
        }
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn modules_agree_with_python() {
    check(include_str!("facades/modules.txt"), &[]);
}

#[test]
fn arrays_agree_with_numpy() {
    check(include_str!("facades/numpy.txt"), &[]);
}

#[test]
fn tensors_agree_with_torch() {
    check(include_str!("facades/torch.txt"), &[]);
}

#[test]
fn monai_helpers_agree_with_monai() {
    check(include_str!("facades/monai.txt"), &[]);
}

/// Creates the files for which the results in `files.txt` were made with Python.
fn tree(root: &std::path::Path) {
    let files = [
        "a.nii.gz",
        "b.nii",
        ".hidden",
        ".config/x.txt",
        "sub/img_1.nii.gz",
        "sub/img_2.nii.gz",
        "sub/img_10.nii.gz",
        "sub/x.jpg",
        "sub/x_seg.jpg",
        "sub/a[1].txt",
        "sub/deep/c",
        "sub/deep/.d",
        "sub/deep/e.txt",
    ];
    for file in files {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    std::fs::create_dir(root.join("empty")).unwrap();
    std::os::unix::fs::symlink(root.join("sub"), root.join("link")).unwrap();
    std::os::unix::fs::symlink(root.join("nowhere"), root.join("broken")).unwrap();
    let list = r#"{"name": "Säge", "training": [{"image": "sub/img_1.nii.gz", "label": ["l1", "../l2"], "fold": 0, "note": "a.nii.gz", "text": "free"}], "validation": [{"image": "img_2.nii.gz", "label": "x.jpg"}, {"label": "none.jpg"}], "test": ["a", "./b"]}"#;
    std::fs::write(root.join("list.json"), list).unwrap();
    std::fs::write(root.join("lines.txt"), "one\r\ntwo\nthree").unwrap();
}

#[test]
fn files_are_found_and_read_as_by_python() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    tree(&root);
    check(include_str!("facades/files.txt"), &[("TMP", root.to_str().unwrap())]);
}

/// Expressions similar to those of published bundles, which are not part of the project.
#[test]
fn expressions_as_in_published_bundles_have_the_expected_values() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap().display().to_string();
    for name in ["case_1.nii.gz", "case_2.nii.gz"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let list =
        r#"{"numTest": 0, "training": [{"image": "case_1.nii.gz"}], "validation": [{"image": "case_2.nii.gz"}]}"#;
    std::fs::write(folder.path().join("list.json"), list).unwrap();
    let known = |text: &str| evaluate(text, HashMap::new()).unwrap();
    let references: HashMap<String, Value> = [
        ("root", Value::str(&root)),
        ("epochs", Value::Int(20)),
        ("images", known("['a', 'b', 'c']")),
        ("labels", known("['x', 'y', 'z']")),
        ("config", known("{'spleen': 1, 'liver': 0}")),
    ]
    .map(|(id, value)| (id.to_owned(), value))
    .into();
    let lines: Vec<&str> = include_str!("expression_shapes.txt")
        .lines()
        .filter(|line| !line.starts_with("# ") && !line.is_empty())
        .collect();
    assert!(lines.len() > 40);
    for line in lines {
        let (text, wanted) = line.split_once(" => ").unwrap();
        let found = evaluate(text, references.clone())
            .map_or_else(|error| format!("error: {}", error.message()), |value| format!("{value:?}"));
        assert_eq!(found.replace(&root, "DIR"), wanted, "{text}");
    }
}

#[test]
fn errors_name_the_function_and_the_argument() {
    for (text, message) in [
        ("os.path.join(['a'], 'b')", "os.path.join: expected str or Path, found list ['a']"),
        ("glob.glob(3)", "glob.glob: argument `pathname`: expected str or Path, found int 3"),
        ("glob.glob('a', recursiv=True)", "glob.glob has no argument `recursiv`"),
        ("open('x', 'w')", "open: mode 'w': a config cannot write files, only read them"),
        ("open('/dev/zero')", "open: expected a regular file, found a device or pipe"),
        ("pathlib.Path('x').write_text('a')", "Path.write_text: a config cannot change files"),
        ("os.environ['NO_SUCH_VARIABLE']", "os.environ: the environment has no variable 'NO_SUCH_VARIABLE'"),
        ("json.loads('[1,')", "json.loads: JSON syntax, line 1, column 4: expected a value, found the end of the file"),
        ("math.sqrt(-1)", "math.sqrt: math domain error"),
        ("math.sqrt('a')", "math.sqrt: expected float, found str 'a'"),
        (
            "np.zeros((100000, 100000))",
            "an array of shape [100000, 100000] is too large for an expression (limit 268435456 elements)",
        ),
        ("np.array([1, 2]) + np.array([1, 2, 3])", "shapes [2] and [3] cannot be broadcast together"),
        ("np.array([1], dtype=np.uint8) + 300", "Python integer 300 is out of bounds for uint8"),
        ("np.array([[1, 2], [3]])", "numpy.array: shapes [2] and [1] do not fit together"),
        ("np.arange(3)[5]", "index 5 is out of bounds for axis 0 with size 3"),
        ("np.arange(3).reshape(2, 2)", "reshape: cannot reshape [3] to [2, 2]"),
        ("torch.mean(torch.tensor([1, 2]))", "torch.mean: expected a float tensor, found int64"),
        ("torch.tensor([1]).to('cuda')", "to: tensors in expressions are on the CPU, found cuda:0"),
        ("torch.sum([1, 2])", "torch.sum: argument `input`: expected tensor, found list [1, 2]"),
        ("torch.device('gpu')", "torch.device: unknown device 'gpu': expected cpu, cuda or cuda:N"),
        ("datetime.timedelta(seconds=-1)", "datetime.timedelta: expected a time of at least 0, found -1 seconds"),
        ("monai.handlers.from_engine(['x'])({'a': 1})", "from_engine: the data has no key 'x' (it has a)"),
        (
            "monai.data.partition_dataset([1], num_partitions=2)",
            "monai.data.partition_dataset: cannot split 1 items into 2 partitions",
        ),
        (
            "monai.data.load_decathlon_datalist('no.json')",
            "monai.data.load_decathlon_datalist: the datalist does not exist",
        ),
        ("datetime.datetime.now().strftime('%Q')", "strftime: cannot format '%Q'"),
        ("torch.max(torch.tensor([[1, 5]]), dim=1)", "torch.max along an axis is not supported"),
        ("np.array([[1, 2]])[[0], [1]]", "array index: more than one mask or list of positions is not supported"),
        ("np.percentile([1, 2], 101)", "numpy.percentile: expected percentiles from 0 to 100, found 101"),
        ("functools.reduce(max, [])", "functools.reduce: the iterable is empty"),
        ("functools.partial(3)", "functools.partial: argument `func`: expected callable, found int 3"),
    ] {
        match eval(text) {
            Ok(value) => panic!("{text} gave {value:?}"),
            Err(error) => assert_eq!(error.message(), message, "{text}"),
        }
    }
}

#[test]
fn volumes_convert_to_tensors_and_back() {
    use segbundle_image::{Affine, Layout, Volume, Voxels};
    use segbundle_language::python::array::Array;
    // [C,X,Y,Z] = [1,2,3,1], X fastest in memory: element (x, y) is x + 2y.
    let voxels = Voxels::I16((0..6).collect());
    let volume = Volume::new("a.nii", voxels, Layout::fortran([1, 2, 3, 1]), Affine::IDENTITY);
    let array = Array::from_volume(&volume, &mut BuildContext::default()).unwrap();
    let (voxels, shape) = array.to_voxels();
    assert_eq!(shape, [1, 2, 3, 1]);
    let Voxels::I16(values) = voxels else { panic!("expected int16") };
    assert_eq!(*values, [0, 2, 4, 1, 3, 5]);
    assert_eq!(Value::object(array).downcast::<Array>().unwrap().values(), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
}

#[test]
fn dtypes_can_be_spelled_as_in_numpy_torch_and_strings() {
    use segbundle_image::DType;
    use segbundle_language::component::FromValue;
    for text in ["np.float32", "torch.float32", "'float32'", "torch.float", "'torch.float32'"] {
        assert_eq!(DType::from_value(&eval(text).unwrap()), Some(DType::F32), "{text}");
    }
    assert_eq!(DType::from_value(&eval("torch.half").unwrap()), None);
    assert_eq!(DType::from_value(&"nonsense".into()), None);
}
