use super::*;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// State files made with openssl and Python; see the README beside them.
fn sample(dialect: Dialect) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples");
    Path::new(root).join(dialect.to_string())
}

fn folder(me_info: &[u8], priv_key: Option<&[u8]>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("me.info"), me_info).expect("me.info");
    if let Some(key) = priv_key {
        fs::write(dir.path().join("priv.key"), key).expect("priv.key");
    }
    dir
}

fn problem(dir: &Path) -> String {
    load(dir).err().expect("no valid identity").to_string()
}

#[test]
fn both_forms_are_read_and_written_byte_for_byte() {
    for dialect in [Dialect::D825, Dialect::D1100] {
        let saved = load(&sample(dialect)).expect("readable").expect("there");
        assert_eq!(saved.dialect, dialect);
        assert_eq!(saved.identity.name, "Michael Jackson");
        assert_eq!(saved.identity.id.to_string(), "64f3f63985f04beb81a0e43321880182");
        let session_key =
            SessionKey::from_bytes(Dialect::D1100, &std::array::from_fn::<u8, 16, _>(|i| i as u8));
        let dir = tempfile::tempdir().expect("a folder");
        save(dir.path(), dialect, &saved.identity, session_key.as_ref()).expect("saved");
        for name in ["me.info", "priv.key"] {
            let ours = dir.path().join(name);
            let theirs = fs::read(sample(dialect).join(name)).expect("the sample");
            assert_eq!(fs::read(&ours).expect("written"), theirs, "{dialect} {name}");
            let mode = fs::metadata(&ours).expect("written").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{dialect} {name}");
        }
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 2, "nothing is left over");
    }
}

#[test]
fn the_forms_of_windows_and_of_careless_editors_are_read() {
    let text = fs::read(sample(Dialect::D825).join("me.info")).expect("the sample");
    let text = String::from_utf8(text).expect("text");
    for variant in [text.replace('\n', "\r\n"), text.trim_end().to_owned(), text.to_uppercase_id()]
    {
        let dir = folder(variant.as_bytes(), None);
        let saved = load(dir.path()).expect("readable").expect("there");
        assert_eq!(saved.identity.id.to_string(), "64f3f63985f04beb81a0e43321880182");
    }
    // An id may hold a line's end, and me.info of d1100 may stand beside a priv.key in base64.
    let me_info = [&b"Bob\n"[..], &[0x0a; 16], b"\n", &[7; 16]].concat();
    let key = fs::read(sample(Dialect::D825).join("priv.key")).expect("the sample");
    let saved = load(folder(&me_info, Some(&key)).path()).expect("readable").expect("there");
    assert_eq!((saved.identity.id, saved.dialect), (ClientId([0x0a; 16]), Dialect::D1100));
}

trait UppercaseId {
    fn to_uppercase_id(&self) -> String;
}

impl UppercaseId for String {
    fn to_uppercase_id(&self) -> String {
        self.replace("64f3f63985f04beb81a0e43321880182", "64F3F63985F04BEB81A0E43321880182")
    }
}

#[test]
fn no_file_is_no_identity() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(load(dir.path()).expect("nothing wrong").is_none());
}

#[test]
fn damage_is_named_with_file_and_remedy() {
    let id = b"64f3f63985f04beb81a0e43321880182";
    for (me_info, what) in [
        (b"".to_vec(), "single line"),
        (b"Bob".to_vec(), "single line"),
        (b"\nx".to_vec(), "name is empty"),
        (b"Bob\n".to_vec(), "no client id"),
        ([&b"Bob\n"[..], &id[..31]].concat(), "no client id"),
        ([&b"Bob\n"[..], id].concat(), "private key"),
        ([&b"Bob\n"[..], id, b"\nAAAA\n\n"].concat(), "private key"),
        ([&b"Bob\n"[..], id, b"\n!!!!\n\n"].concat(), "private key"),
        ([&b"Bob\n"[..], &[9; 16], b"\n", &[7; 15]].concat(), "no client id"),
        (vec![b'x'; 70 << 10], "too long"),
    ] {
        let text = problem(folder(&me_info, None).path());
        assert!(text.contains("me.info") && text.contains(what), "{text}");
        assert!(text.contains("move it away") && !text.contains('\n'), "{text}");
    }
    let d1100 = [&b"Bob\n"[..], &[9; 16], b"\n", &[7; 16]].concat();
    assert!(problem(folder(&d1100, None).path()).contains("priv.key: does not exist"));
    let text = problem(folder(&d1100, Some(b"nonsense")).path());
    assert!(text.contains("priv.key: it is no valid RSA private key"), "{text}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, named: bool) {
        let bytes = if named { [&b"Bob\n64f3f63985f04beb81a0e43321880182\n"[..], &bytes].concat() } else { bytes };
        let _ = Info::parse(&bytes);
        let _ = parse_key_file(&bytes);
    }
}
