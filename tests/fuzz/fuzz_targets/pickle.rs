//! Parses arbitrary bytes as the pickle of a checkpoint: expects an error or values whose indices are all valid.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segbundle_formats::pickle::{Pickle, Value};

fuzz_target!(|bytes: &[u8]| {
    let Ok(pickle) = Pickle::parse(bytes) else { return };
    for tensor in &pickle.tensors {
        let storage = &pickle.storages[tensor.storage];
        let last: i128 = tensor.size.iter().zip(&tensor.stride).map(|(size, stride)| (*size as i128 - 1) * *stride as i128).sum();
        assert!(tensor.size.contains(&0) || tensor.offset as i128 + last < storage.length as i128);
    }
    let items = pickle.sequences.iter().flatten().chain(pickle.dicts.iter().flatten().flat_map(|(key, value)| [key, value]));
    for value in items.chain(&pickle.root) {
        match value {
            Value::List(_) | Value::Tuple(_) | Value::Set(_) => assert!(pickle.sequence(value).is_some()),
            Value::Dict(_) => assert!(pickle.dict(value).is_some()),
            Value::Tensor(id) => assert!(*id < pickle.tensors.len()),
            Value::Storage(id) => assert!(*id < pickle.storages.len()),
            _ => {}
        }
    }
});
