//! Names of the built-in types, and `isinstance`.

use crate::component::Value;

/// Types that are available by their bare name, as in `isinstance(x, int)` and `list[int]`.
pub const TYPES: &[&str] =
    &["bool", "dict", "enumerate", "filter", "float", "int", "list", "map", "range", "set", "str", "tuple", "zip"];

/// Whether `path` is a built-in type.
pub fn is_type(path: &str) -> bool {
    TYPES.contains(&path)
}

/// Whether `value` is an instance of `class`; `None` if `class` is not a class or type.
pub fn is_instance(value: &Value, class: &Value) -> Option<bool> {
    let own = value.type_name();
    match class {
        Value::Function(function) => {
            // Facades of classes such as `torch.device` are functions.
            let short = function.path.rsplit('.').next().unwrap_or(function.path);
            Some(match function.path {
                "int" => matches!(value, Value::Int(_) | Value::Bool(_)),
                path if is_type(path) => own == path,
                path => matches!(value, Value::Object(_)) && (own == path || own == short),
            })
        }
        Value::Component(component) => {
            Some(matches!(value, Value::Object(_)) && (own == component.name || own == component.path))
        }
        Value::Tuple(classes) => {
            classes.iter().try_fold(false, |found, class| Some(found | is_instance(value, class)?))
        }
        Value::None => Some(value.is_none()),
        _ => None,
    }
}
