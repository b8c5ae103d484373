//! Ids and references in configs.

use segbundle_language::bundle::id::{resolve_relative, split_path, whole_reference};

#[test]
fn only_a_whole_string_is_a_reference() {
    assert_eq!(whole_reference("@a::b::0"), Some("a::b::0"));
    assert_eq!(whole_reference("@"), Some(""));
    for text in ["x@y", "@my-key", "@a ", "@x::-1", "a"] {
        assert_eq!(whole_reference(text), None, "{text}");
    }
}

#[test]
fn relative_ids_go_up_one_level_per_additional_separator() {
    assert_eq!(resolve_relative("B::key", "@##A").unwrap(), "@A");
    assert_eq!(resolve_relative("B::value2", "%#value1").unwrap(), "%B::value1");
    assert_eq!(resolve_relative("B::value3::2", "@#1").unwrap(), "@B::value3::1");
    assert_eq!(resolve_relative("a::b::c", "$@#x + @##y + @###z").unwrap(), "$@a::b::x + @a::y + @z");
    let error = resolve_relative("a::b", "@###x").unwrap_err();
    assert_eq!(error.message(), "the relative id in `@###x` goes 3 levels up, out of the range of the config");
}

#[test]
fn a_macro_can_refer_to_a_file_and_an_id() {
    for (text, path, id) in [
        ("net", "", "net"),
        ("a.json", "a.json", ""),
        ("dir/a.YAML#net#0", "dir/a.YAML", "net::0"),
        ("a.yml::b", "a.yml", "b"),
        ("a.jsonx", "", "a.jsonx"),
    ] {
        assert_eq!(split_path(text), (path.to_owned(), id.to_owned()), "{text}");
    }
}
