use super::*;
use std::io::Write;

use tempfile::NamedTempFile;

const ID: ClientId = ClientId([0x77; 16]);
const BOTH: [Dialect; 2] = [Dialect::D825, Dialect::D1100];

fn file_of(size: usize) -> (NamedTempFile, Vec<u8>) {
    let bytes: Vec<u8> = (0..size).map(|i| (7 * i + 3) as u8).collect();
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(&bytes).expect("written");
    (file, bytes)
}

fn sparse(size: u64) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a file");
    file.as_file().set_len(size).expect("a sparse file");
    file
}

fn key(dialect: Dialect) -> SessionKey {
    SessionKey::random(dialect, &mut rand::rng())
}

#[test]
fn pieces_are_the_file_encoded_at_once_at_every_try() {
    for dialect in BOTH {
        for size in [0, 1, 16, 1023, 1024, PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES + 17] {
            let (file, plain) = file_of(size);
            let key = key(dialect);
            let mut whole = Vec::new();
            let mut encoder = Encoder::new(&key, ID, b"f", size as u64).expect("small enough");
            encoder.push_head(&mut whole);
            encoder.push(&plain, &mut whole);
            encoder.finish(&mut whole);
            let mut content = Content::open(file.path(), dialect).expect("a plain file");
            for _ in 0..2 {
                let mut pieces = content.encode(&key, ID, b"f").expect("small enough");
                let mut sent = Vec::new();
                while let Some(piece) = pieces.next().expect("unchanged") {
                    sent.extend_from_slice(piece);
                }
                assert!(sent == whole, "{dialect}, {size} bytes");
                assert_eq!((pieces.checksum(), pieces.sent()), (encoder.checksum(), size as u64));
            }
        }
    }
}

/// The largest file of d825 takes no more memory than a small one.
#[test]
fn memory_does_not_grow_with_the_file() {
    let file = sparse(Dialect::D825.plain_size_max());
    let key = key(Dialect::D825);
    let mut content = Content::open(file.path(), Dialect::D825).expect("at the limit");
    let mut pieces = content.encode(&key, ID, b"f").expect("at the limit");
    let mut sent = 0;
    while let Some(piece) = pieces.next().expect("unchanged") {
        sent += piece.len();
        assert!(pieces.wire.capacity() + pieces.plain.capacity() < 1 << 20);
    }
    assert_eq!(sent, 65_535 * 1314);
}

#[test]
fn what_cannot_be_sent_is_refused_with_a_reason() {
    let problem = |path: &Path, dialect| {
        Content::open(path, dialect).err().map(|error| (error.class(), error.to_string()))
    };
    for (path, reason) in [
        ("/nowhere/at/all", "no such file"),
        ("/", "is a folder"),
        ("/dev/null", "is no plain file"),
    ] {
        let (class, text) = problem(Path::new(path), Dialect::D825).expect("refused");
        assert_eq!(class, crate::Class::BadInput);
        assert!(text.starts_with(path) && text.contains(reason), "{text}");
    }
    for dialect in BOTH {
        let most = sparse(dialect.plain_size_max());
        assert_eq!(problem(most.path(), dialect), None);
        let over = sparse(dialect.plain_size_max() + 1);
        let (_, text) = problem(over.path(), dialect).expect("refused");
        assert!(text.contains("split the file"), "{text}");
    }
}

/// Noticed before the last packet, so that the server cannot take the file for complete.
#[test]
fn a_file_that_changes_its_size_is_noticed_in_time() {
    for dialect in BOTH {
        let size = 3 * PIECE_BYTES;
        for now in [0, size - 1, size + 1] {
            let (file, _) = file_of(size);
            let mut content = Content::open(file.path(), dialect).expect("a plain file");
            let key = key(dialect);
            let mut pieces = content.encode(&key, ID, b"f").expect("small enough");
            file.as_file().set_len(now as u64).expect("changed");
            let error = loop {
                match pieces.next() {
                    Ok(piece) => assert!(piece.is_some(), "the end is not reached"),
                    Err(error) => break error,
                }
            };
            let text = error.to_string();
            assert_eq!(error.class(), crate::Class::LocalIo);
            assert!(text.contains(&format!("from {size} bytes to {now} while")), "{text}");
        }
    }
}
