//! Names: printed, read back, and made into paths.

use coffer_protocol::name::{NAME_MAX, check_client_name, check_file_name, escape, unescape};
use cofferd::storage::view_name::{
    COMPONENT_BYTES_MAX, fold_key, numbered, propose, propose_folder,
};

/// Any bytes as a name.
pub(crate) fn names(data: &[u8]) {
    let printed = escape(data);
    assert!(!printed.chars().any(char::is_control), "{printed:?}");
    assert_eq!(unescape(&printed).as_deref(), Ok(data));
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(bytes) = unescape(text)
    {
        assert_eq!(unescape(&escape(&bytes)), Ok(bytes));
    }
    if check_file_name(data).is_err() {
        assert!(data.is_empty() || data.len() > NAME_MAX);
        return;
    }
    let path = propose(data);
    assert!(!path.is_empty());
    path.iter().for_each(|component| check_component(component));
    assert_eq!(propose(path.join("/").as_bytes()), path, "a safe path stays as it is");
    if let Ok(name) = check_client_name(data) {
        let folder = propose_folder(name);
        check_component(&folder);
        assert!(!folder.starts_with('.'), "{folder:?}");
    }
}

/// One part of a path, also with any number in it.
fn check_component(component: &str) {
    for name in [component, &numbered(component, 2), &numbered(component, u64::MAX)] {
        assert!((1..=COMPONENT_BYTES_MAX).contains(&name.len()), "{} bytes", name.len());
        assert!(name != "." && name != "..");
        assert!(!name.chars().any(|c| c.is_control() || r#"/\<>:"|?*"#.contains(c)), "{name:?}");
        assert!(!name.ends_with(['.', ' ']), "{name:?}");
    }
    let key = fold_key(component);
    assert_eq!(fold_key(&key), key, "what is folded stays as it is: {component:?}");
    // The one mark whose capital is a letter: where it does not stand in its normal place, the capital stands elsewhere.
    if !component.contains('\u{345}') {
        assert_eq!(fold_key(&component.to_uppercase()), key, "upper case: {component:?}");
    }
}
