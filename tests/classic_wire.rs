//! The classic test peers' own arithmetic against vectors of the existing programs, coreutils and openssl.

mod classic;

use classic::keys::Key;
use classic::wire;
use std::io::Write as _;
use std::process::{Command, Stdio};

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| ((7 * i + 3) % 256) as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key<const N: usize>() -> [u8; N] {
    std::array::from_fn(|i| i as u8)
}

#[test]
fn checksums_are_those_of_the_existing_programs() {
    let mib = pattern(1 << 20);
    let known = [
        (&b""[..], 4_294_967_295, 312_456),
        (b"123456789", 930_766_865, 166_785),
        (&mib, 4_243_021_139, 234_464),
    ];
    for (input, cksum, md5_sum) in known {
        assert_eq!(wire::cksum(input), cksum, "cksum of {} bytes", input.len());
        assert_eq!(wire::md5_sum(input), md5_sum, "MD5 sum of {} bytes", input.len());
    }
}

#[test]
fn cksum_agrees_with_coreutils() {
    for length in [0, 1, 9, 255, 256, 65_535, 65_536, 70_001] {
        let input = pattern(length);
        let mut child = Command::new("cksum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("coreutils has cksum");
        child.stdin.take().expect("it is piped").write_all(&input).expect("cksum reads");
        let output = child.wait_with_output().expect("cksum ends").stdout;
        let text = String::from_utf8(output).expect("digits");
        assert_eq!(text.trim(), format!("{} {length}", wire::cksum(&input)));
    }
}

#[test]
fn whole_files_are_encrypted_as_by_the_d825_programs() {
    let key = key::<32>();
    assert_eq!(hex(&wire::encrypt_whole(&key, b"123456789")), "2f3f4510b8421435e17f2b96b8aad276");
    assert_eq!(hex(&wire::encrypt_whole(&key, b"")), "9f3b7504926f8bd36e3118e903a4cd4a");
    let mib = pattern(1 << 20);
    let encrypted = wire::encrypt_whole(&key, &mib);
    assert_eq!(encrypted.len(), 1_048_592);
    assert_eq!(hex(&encrypted[..16]), "ae5bf9ddaad53f23deb4efae9db72462");
    assert_eq!(hex(&encrypted[1_048_576..]), "198a7e3c2536e480dca29fa504c1540e");
    assert_eq!(wire::decrypt_whole(&key, &encrypted), Some(mib));
    assert_eq!(wire::decrypt_whole(&key, &encrypted[..1_048_576]), None, "no padding there");
}

#[test]
fn chunks_are_encrypted_as_by_the_d1100_programs() {
    let key = key::<16>();
    assert_eq!(hex(&wire::encrypt_chunk(&key, b"123456789")), "981719fa95a0f975f5fd0f2aa2e016be");
    let data = pattern(1029);
    assert_eq!(wire::round_up(data.len()), 1040);
    let first = &wire::encrypt_chunk(&key, &data[..1024])[..1024];
    assert_eq!(hex(&first[..16]), "268590873ef180ab539cf461a5c5f892");
    assert_eq!(hex(&first[1008..]), "0f33c79a02290d3711e61b89cdb8f8aa");
    let second = wire::encrypt_chunk(&key, &data[1024..]);
    assert_eq!(hex(&second), "febf3d4cffcd2312d67303611f8559ea");
    assert_eq!(wire::decrypt_chunk(&key, first).as_deref(), Some(&data[..1024]));
    let padded = wire::decrypt_chunk(&key, &second).expect("whole blocks");
    assert_eq!(wire::unpad(&padded), Some(&data[1024..]));
    assert_eq!(wire::unpad(&data[..16]), None);
}

#[test]
fn a_registration_is_written_as_the_existing_clients_write_it() {
    let request = wire::request(&[0; 16], 825, 255, &wire::name_field(b"Bob"));
    let start = format!("{}033903ff000000426f6200", "00".repeat(16));
    assert!(hex(&request).starts_with(&start));
    assert_eq!(request.len(), 278);
    assert_eq!(wire::request_header(&request), ([0; 16], 825, 255));
    assert_eq!(wire::strip(&request[23..]), b"Bob");
    assert_eq!(hex(&wire::reply(1600, 16, &[0xaa; 16])[..8]), "03400610000000aa");
}

/// `openssl pkey -inform DER -in KEY -pubout -outform DER | wc -c`
#[test]
fn public_keys_have_the_size_that_their_exponent_gives() {
    for key in [Key::A, Key::B, Key::C] {
        assert_eq!(key.spki().len(), 160);
    }
    assert_eq!(Key::F4.spki().len(), 162);
}
