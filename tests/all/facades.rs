//! Facades of Python's modules against Python itself.
//!
//! `facades/*.txt` hold lines `EXPRESSION => RESULT`; the results were printed by Python 3.11, NumPy 2.4.6, torch 2.11.0
//! and MONAI 1.6.1 by
//!
//! ```python
//! import os, re, json, math, ...
//! for line in open(file): text = line.split(" => ")[0]; print(text, "=>", repr(eval(text)).replace("\n", "\\n"))
//! ```
//!
//! and are compared as text, so they are exact. A small reader of literals, names, calls, attributes, indices and
//! operators stands in for the expression language, which has tests of its own.

use segbundle::component::{Args, BuildContext, Dict, Key, Table, Value};
use segbundle::error::{Error, Result};
use std::sync::{Arc, LazyLock};

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    segbundle::python::register(&mut table);
    table
});

fn eval(text: &str) -> Result<Value> {
    let mut reader = Reader { text: text.chars().collect(), at: 0, call: BuildContext::default() };
    let value = reader.binary(0)?;
    reader.space();
    if reader.at < reader.text.len() {
        return Err(Error::new(format!("left over: {}", reader.text[reader.at..].iter().collect::<String>())));
    }
    Ok(value)
}

struct Reader {
    text: Vec<char>,
    at: usize,
    call: BuildContext,
}

const LEVELS: &[&[&str]] =
    &[&["==", "!=", "<=", ">=", "<", ">", "in "], &["|"], &["^"], &["&"], &["+", "-"], &["//", "/", "*", "%", "@"]];

impl Reader {
    fn space(&mut self) {
        while self.text.get(self.at) == Some(&' ') {
            self.at += 1;
        }
    }
    fn eat(&mut self, token: &str) -> bool {
        self.space();
        let found = self.text[self.at..].starts_with(&token.chars().collect::<Vec<_>>());
        self.at += if found { token.chars().count() } else { 0 };
        found
    }
    fn operate(&mut self, operator: &str, a: Value, b: Value) -> Result<Value> {
        let number = |value: &Value| match value {
            Value::Int(i) => Some(*i as f64),
            Value::Float(x) => Some(*x),
            _ => None,
        };
        match (number(&a), number(&b), operator) {
            (Some(x), Some(y), "/") => return Ok(Value::Float(x / y)),
            (Some(x), Some(y), "+") => return Ok(Value::Float(x + y)),
            _ => {}
        }
        let tried = match (&a, &b) {
            (_, Value::Object(object)) if operator == "in " => object.operator("in", &a, true, &mut self.call)?,
            (Value::Object(object), _) => object.operator(operator, &b, false, &mut self.call)?,
            (_, Value::Object(object)) => object.operator(operator, &a, true, &mut self.call)?,
            _ => None,
        };
        match (operator, tried) {
            (_, Some(value)) => Ok(value),
            ("==", None) => Ok((a == b).into()),
            ("!=", None) => Ok((a != b).into()),
            _ => Err(Error::new(format!("no `{operator}` of {a:?} and {b:?}"))),
        }
    }
    fn binary(&mut self, level: usize) -> Result<Value> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        'more: loop {
            self.space();
            // A product sign may begin a power.
            if self.text[self.at..].starts_with(&['*', '*']) {
                return Ok(left);
            }
            for operator in *operators {
                if self.eat(operator) {
                    let right = self.binary(level + 1)?;
                    left = self.operate(operator, left, right)?;
                    continue 'more;
                }
            }
            return Ok(left);
        }
    }
    fn unary(&mut self) -> Result<Value> {
        for (sign, name) in [("-", "neg"), ("~", "invert")] {
            if self.eat(sign) {
                return match self.unary()? {
                    Value::Int(i) => Ok(Value::Int(-i)),
                    Value::Float(x) => Ok(Value::Float(-x)),
                    Value::Object(object) => object
                        .operator(name, &Value::None, false, &mut self.call)?
                        .ok_or_else(|| Error::new(format!("no `{sign}`"))),
                    other => Err(Error::new(format!("no `{sign}` of {other:?}"))),
                };
            }
        }
        let base = self.postfix()?;
        if self.eat("**") {
            let power = self.unary()?;
            return self.operate("**", base, power);
        }
        Ok(base)
    }
    fn word(&mut self) -> String {
        self.space();
        let rest = &self.text[self.at..];
        let word: String = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
        self.at += word.chars().count();
        word
    }
    fn postfix(&mut self) -> Result<Value> {
        let mut value = self.atom()?;
        loop {
            self.space();
            if self.eat(".") {
                let name = self.word();
                value = match &value {
                    Value::Module(path) => {
                        let path = format!("{path}.{name}");
                        TABLE.lookup(&path).ok_or_else(|| Error::new(format!("no {path}")))?
                    }
                    // `pathlib.Path.cwd`, `itertools.chain.from_iterable`
                    Value::Function(function) => {
                        let path = format!("{}.{name}", function.path);
                        TABLE.lookup(&path).ok_or_else(|| Error::new(format!("no {path}")))?
                    }
                    Value::Object(object) => {
                        let object = object.clone();
                        if self.eat("(") {
                            let mut args = self.args()?;
                            match object.call_method(&name, &mut args, &mut self.call)? {
                                Some(result) => result,
                                None => object
                                    .attr(&name)?
                                    .ok_or_else(|| Error::new(format!("no .{name}()")))?
                                    .call(args, &mut self.call)?,
                            }
                        } else {
                            object.attr(&name)?.ok_or_else(|| Error::new(format!("no .{name}")))?
                        }
                    }
                    other => return Err(Error::new(format!("no .{name} of {other:?}"))),
                };
            } else if self.eat("(") {
                let args = self.args()?;
                value = value.call(args, &mut self.call)?;
            } else if self.eat("[") {
                let index = self.index()?;
                value = match &value {
                    Value::Object(object) => object.index(&index)?,
                    Value::List(list) => list.items()[usize::try_from(int(&index)).unwrap()].clone(),
                    Value::Tuple(items) => items[usize::try_from(int(&index)).unwrap()].clone(),
                    Value::Dict(dict) => dict.0.read().get(&Key::new(&index).unwrap()).cloned().unwrap(),
                    other => return Err(Error::new(format!("no index of {other:?}"))),
                };
            } else {
                return Ok(value);
            }
        }
    }
    fn index(&mut self) -> Result<Value> {
        let mut parts = vec![];
        let mut tuple = false;
        while !self.eat("]") {
            let mut bounds: Vec<Option<Value>> = vec![None];
            while !matches!(self.text.get(self.at), Some(',' | ']')) {
                if self.eat(":") {
                    bounds.push(None);
                } else {
                    *bounds.last_mut().unwrap() = Some(self.binary(0)?);
                }
                self.space();
            }
            parts.push(if bounds.len() == 1 {
                bounds.remove(0).unwrap()
            } else {
                bounds.resize(3, None);
                Value::Slice(Arc::new([0, 1, 2].map(|i| bounds[i].as_ref().map(int))))
            });
            tuple |= self.eat(",");
        }
        Ok(if tuple { Value::tuple(parts) } else { parts.remove(0) })
    }
    fn args(&mut self) -> Result<Args> {
        let mut args = Args::default();
        while !self.eat(")") {
            let start = self.at;
            let name = self.word();
            self.space();
            let named =
                !name.is_empty() && self.text.get(self.at) == Some(&'=') && self.text.get(self.at + 1) != Some(&'=');
            if named {
                self.at += 1;
                let value = self.binary(0)?;
                args.named.push((name.into(), value));
            } else {
                self.at = start;
                let value = self.binary(0)?;
                args.positional.push(value);
            }
            self.eat(",");
        }
        Ok(args)
    }
    fn items(&mut self, end: &str) -> Result<(Vec<Value>, bool)> {
        let (mut items, mut comma) = (vec![], false);
        while !self.eat(end) {
            items.push(self.binary(0)?);
            comma |= self.eat(",");
        }
        Ok((items, comma))
    }
    fn atom(&mut self) -> Result<Value> {
        if self.eat("[") {
            return Ok(Value::list(self.items("]")?.0));
        }
        if self.eat("(") {
            let (mut items, comma) = self.items(")")?;
            return Ok(if comma || items.is_empty() { Value::tuple(items) } else { items.remove(0) });
        }
        if self.eat("{") {
            let mut pairs = vec![];
            while !self.eat("}") {
                let key = self.binary(0)?;
                assert!(self.eat(":"));
                pairs.push((Key::new(&key).unwrap(), self.binary(0)?));
                self.eat(",");
            }
            return Ok(Value::Dict(Dict::new(pairs)));
        }
        if self.eat("...") {
            return Ok(Value::Ellipsis);
        }
        self.space();
        let raw = self.eat("r'");
        if raw || self.eat("'") {
            let mut text = String::new();
            while self.text[self.at] != '\'' {
                let mut c = self.text[self.at];
                if c == '\\' && !raw {
                    self.at += 1;
                    c = match self.text[self.at] {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        c => c,
                    };
                }
                text.push(c);
                self.at += 1;
            }
            self.at += 1;
            return Ok(text.into());
        }
        if self.text.get(self.at).is_some_and(char::is_ascii_digit) {
            let rest: String = self.text[self.at..].iter().collect();
            let exponent = |before: Option<char>, c: char| "+-".contains(c) && before == Some('e');
            let mut last = None;
            let number: String = rest
                .chars()
                .take_while(|c| {
                    let part = c.is_ascii_digit() || *c == '.' || *c == 'e' || exponent(last, *c);
                    last = Some(*c);
                    part
                })
                .collect();
            self.at += number.len();
            return Ok(number.parse::<i64>().map(Value::Int).unwrap_or_else(|_| Value::Float(number.parse().unwrap())));
        }
        let word = self.word();
        Ok(match &*word {
            "None" => Value::None,
            "True" => true.into(),
            "False" => false.into(),
            "np" => Value::Module("numpy".into()),
            "dist" => Value::Module("torch.distributed".into()),
            // Stand-ins for the built-ins.
            "str" => {
                assert!(self.eat("("));
                let args = self.args()?;
                args.positional[0].to_string().into()
            }
            "sorted" => {
                assert!(self.eat("("));
                let args = self.args()?;
                let mut items = args.positional[0].as_sequence().unwrap();
                items.sort_by_key(Value::to_string);
                Value::list(items)
            }
            _ => TABLE.lookup(&word).ok_or_else(|| Error::new(format!("no name '{word}'")))?,
        })
    }
}

fn int(value: &Value) -> i64 {
    match value {
        Value::Int(i) => *i,
        Value::None => 0,
        other => panic!("{other:?} is no int"),
    }
}

/// Every line of a file, all failures at once.
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
fn modules_give_what_python_gives() {
    check(include_str!("facades/modules.txt"), &[]);
}

#[test]
fn arrays_give_what_numpy_gives() {
    check(include_str!("facades/numpy.txt"), &[]);
}

#[test]
fn tensors_give_what_torch_gives() {
    check(include_str!("facades/torch.txt"), &[]);
}

#[test]
fn monai_helpers_give_what_monai_gives() {
    check(include_str!("facades/monai.txt"), &[]);
}

/// The same tree that the script made for Python.
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
fn files_are_found_and_read_as_python_does() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    tree(&root);
    check(include_str!("facades/files.txt"), &[("TMP", root.to_str().unwrap())]);
}

#[test]
fn mistakes_name_function_and_argument() {
    for (text, message) in [
        ("os.path.join(['a'], 'b')", "os.path.join: expected str or Path, found list ['a']"),
        ("glob.glob(3)", "glob.glob: argument `pathname`: expected str or Path, found int 3"),
        ("glob.glob('a', recursiv=True)", "glob.glob has no argument `recursiv`"),
        ("open('x', 'w')", "open: mode 'w': a config cannot write files, only read them"),
        ("open('/dev/zero')", "open: expected a regular file, found a device or pipe"),
        ("pathlib.Path('x').write_text('a')", "Path.write_text: a config cannot change files"),
        ("os.environ['NO_SUCH_VARIABLE']", "os.environ: the environment has no variable 'NO_SUCH_VARIABLE'"),
        ("json.loads('[1,')", "json.loads: no valid JSON: EOF while parsing a value at line 1 column 3"),
        ("math.sqrt(-1)", "math.sqrt: math domain error"),
        ("math.sqrt('a')", "math.sqrt: expected float, found str 'a'"),
        ("math.factorial(21)", "math.factorial: the result is beyond 64-bit integers"),
        (
            "re.search('(', 'a')",
            "re.search: no valid pattern '(': Parsing error at position 1: Opening parenthesis without closing parenthesis",
        ),
        (
            "np.zeros((100000, 100000))",
            "an array of shape [100000, 100000] is too large for an expression (limit 268435456 elements)",
        ),
        ("np.array([1, 2]) + np.array([1, 2, 3])", "shapes [2] and [3] cannot be broadcast together"),
        ("np.array([1], dtype=np.uint8) + 300", "Python integer 300 is out of bounds for uint8"),
        ("np.array([[1, 2], [3]])", "numpy.array: shapes [2] and [1] do not fit together"),
        ("np.arange(3)[5]", "index 5 is out of bounds for axis 0 with size 3"),
        ("np.arange(3).reshape(2, 2)", "reshape: cannot make shape [2, 2] of [3]"),
        ("torch.mean(torch.tensor([1, 2]))", "mean: expected a float tensor, found int64"),
        ("torch.tensor([1]).to('cuda')", "to: arrays in expressions stay in host memory, found cuda:0"),
        ("torch.sum([1, 2])", "torch.sum: argument `input`: expected tensor, found list [1, 2]"),
        ("torch.device('gpu')", "torch.device: 'gpu' is no device; expected cpu, cuda or cuda:N"),
        (
            "dist.get_rank()",
            "torch.distributed.get_rank: default process group has not been initialized, please make sure to call init_process_group",
        ),
        (
            "dist.init_process_group(backend='nccl')",
            "torch.distributed.init_process_group: runs over several processes are not supported",
        ),
        ("monai.utils.ensure_tuple_rep([1, 2], 3)", "monai.utils.ensure_tuple_rep: expected one value or 3, found 2"),
        ("monai.handlers.from_engine(['x'])({'a': 1})", "from_engine: the data has no key 'x' (it has a)"),
        (
            "monai.data.partition_dataset([1], num_partitions=2)",
            "monai.data.partition_dataset: cannot split 1 items into 2 partitions",
        ),
        (
            "monai.data.load_decathlon_datalist('no.json')",
            "monai.data.load_decathlon_datalist: the datalist does not exist",
        ),
        ("datetime.datetime.now().strftime('%Q')", "strftime: unknown format code '%Q' in '%Q'"),
        ("itertools.product([1, 2, 3], repeat=100)", "the expression needs too many steps or makes too large a value"),
        (
            "itertools.permutations([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])",
            "the expression needs too many steps or makes too large a value",
        ),
        ("functools.partial(3)", "functools.partial: argument `func`: expected callable, found int 3"),
    ] {
        match eval(text) {
            Ok(value) => panic!("{text} gave {value:?}"),
            Err(error) => assert_eq!(error.message(), message, "{text}"),
        }
    }
}

#[test]
fn iterators_are_lists() {
    for (text, expected) in [
        ("itertools.chain([1], (2, 3))", "[1, 2, 3]"),
        ("itertools.chain.from_iterable([[1], [2]])", "[1, 2]"),
        ("itertools.product([1, 2], 'ab')", "[(1, 'a'), (1, 'b'), (2, 'a'), (2, 'b')]"),
        ("itertools.product([0, 1], repeat=2)", "[(0, 0), (0, 1), (1, 0), (1, 1)]"),
        ("itertools.combinations([1, 2, 3], 2)", "[(1, 2), (1, 3), (2, 3)]"),
        ("itertools.permutations([1, 2, 3], 2)", "[(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)]"),
        ("itertools.zip_longest([1, 2], [3], fillvalue=0)", "[(1, 3), (2, 0)]"),
        ("itertools.accumulate([1, 2, 3])", "[1, 3, 6]"),
        ("itertools.islice([1, 2, 3, 4], 1, None, 2)", "[2, 4]"),
        ("itertools.repeat(1, 3)", "[1, 1, 1]"),
        ("itertools.starmap(math.pow, [(2, 3)])", "[8.0]"),
    ] {
        assert_eq!(format!("{:?}", eval(text).unwrap()), expected, "{text}");
    }
}

#[test]
fn cudnn_settings_read_back() {
    let cudnn = TABLE.lookup("torch.backends.cudnn").unwrap();
    let Value::Object(object) = &cudnn else { panic!("no object") };
    object.set_attr("benchmark", true.into()).unwrap();
    assert_eq!(eval("torch.backends.cudnn.benchmark").unwrap(), Value::Bool(true));
    object.set_attr("benchmark", false.into()).unwrap();
    assert_eq!(eval("torch.backends.cudnn.benchmark").unwrap(), Value::Bool(false));
    assert!(object.set_attr("benchmrk", true.into()).is_err());
}

#[test]
fn volumes_become_tensors_and_voxels_come_back() {
    use segbundle::image::{Affine, Grid, Header, Layout, Volume, Voxels};
    use segbundle::python::array::Array;
    // [C,X,Y,Z] = [1,2,3,1], X fastest in memory: element (x, y) is x + 2y.
    let grid = Grid { shape: [2, 3, 1], affine: Affine::IDENTITY };
    let volume = Volume {
        voxels: Voxels::I16((0..6).collect()),
        layout: Layout::fortran([1, 2, 3, 1]),
        affine: Affine::IDENTITY,
        channel_first: true,
        header: Arc::new(Header {
            path: "a.nii".into(),
            grid,
            spatial_dims: 3,
            channels: None,
            space: None,
            series: None,
        }),
        trace: vec![],
    };
    let array = Array::from_volume(&volume, &mut BuildContext::default()).unwrap();
    let (voxels, shape) = array.to_voxels();
    assert_eq!(shape, [1, 2, 3, 1]);
    let Voxels::I16(values) = voxels else { panic!("expected int16") };
    assert_eq!(*values, [0, 2, 4, 1, 3, 5]);
    assert_eq!(Value::object(array).downcast::<Array>().unwrap().values(), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
}

#[test]
fn dtypes_are_taken_from_all_spellings() {
    use segbundle::component::FromValue;
    use segbundle::image::DType;
    for text in ["np.float32", "torch.float32", "'float32'", "torch.float", "np.dtype('float32')", "'torch.float32'"] {
        assert_eq!(DType::from_value(&eval(text).unwrap()), Some(DType::F32), "{text}");
        assert_eq!(tch::Kind::from_value(&eval(text).unwrap()), Some(tch::Kind::Float), "{text}");
    }
    assert_eq!(tch::Kind::from_value(&eval("torch.half").unwrap()), Some(tch::Kind::Half));
    assert_eq!(DType::from_value(&eval("torch.half").unwrap()), None);
    assert_eq!(DType::from_value(&"nonsense".into()), None);
}
