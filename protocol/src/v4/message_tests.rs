//! Messages against the frames in `docs/PROTOCOL.md`, which another program made (Python's struct, and CBOR by hand).

use super::*;
use proptest::prelude::*;

const DOCS: &str = include_str!("../../../docs/PROTOCOL.md");

/// The first second of 2026, in milliseconds since 1970.
const NEW_YEAR: u64 = 1_767_225_600_000;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The row of the documentation that begins so shows these bytes.
fn assert_documented(row: &str, frame: &[u8]) {
    let row = format!("| {row} | `{}` |", hex(frame));
    assert!(DOCS.lines().any(|line| line == row), "{row}");
}

fn sent(request: &Request, stream: u32) -> Vec<u8> {
    let mut out = Vec::new();
    request.frame(stream, &mut out);
    let (header, payload) = split(&out);
    assert_eq!((header.kind, header.stream), (request.kind(), stream));
    assert_eq!(Request::decode(header.kind, payload).as_ref(), Ok(request));
    assert_eq!(Answer::decode(header.kind, payload), Err(MessageError::Direction(header.kind)));
    out
}

fn answered(answer: &Answer, stream: u32) -> Vec<u8> {
    let mut out = Vec::new();
    answer.frame(stream, &mut out);
    let (header, payload) = split(&out);
    assert_eq!((header.kind, header.stream), (answer.kind(), stream));
    assert_eq!(Answer::decode(header.kind, payload).as_ref(), Ok(answer));
    assert_eq!(Request::decode(header.kind, payload), Err(MessageError::Direction(header.kind)));
    out
}

/// One whole frame.
fn split(frame: &[u8]) -> (FrameHeader, &[u8]) {
    let (header, payload) = frame.split_first_chunk::<FRAME_HEADER>().expect("a header");
    let header = FrameHeader::decode(header).expect("our own");
    assert_eq!(header.length as usize, payload.len());
    (header, payload)
}

fn hello(software: &str) -> Request {
    Request::Hello(Hello { version_min: 4, version_max: 4, software: software.to_owned() })
}

fn welcome(client: Option<ClientInfo>) -> Answer {
    let software = "cofferd 0.1.0".to_owned();
    Answer::Welcome(Welcome { version: 4, software, server_time_ms: NEW_YEAR, client })
}

fn zoe() -> ClientInfo {
    ClientInfo { name: "Zoë".to_owned(), enrolled_at_ms: NEW_YEAR - 60_000 }
}

fn error(code: ErrorCode, text: &str) -> ErrorMessage {
    ErrorMessage { code, text: text.to_owned(), retry_after_ms: None }
}

#[test]
fn requests_are_as_documented() {
    assert_documented("HELLO, versions 4 to 4, `coffer 0.1.0`", &sent(&hello("coffer 0.1.0"), 0));
    let secret = Secret::new(std::array::from_fn(|index| 0xf0 | index as u8));
    let enroll = Request::Enroll(Enroll::new(secret, "desk"));
    assert_documented("ENROLL, secret `f0 f1 .. ff`, host `desk`", &sent(&enroll, 0));
    assert!(format!("{enroll:?}").contains("Secret(hidden)"));
    let ping = Request::Ping(Ping { nonce: u64::MAX });
    assert_documented("PING, nonce 2^64 - 1, stream 7", &sent(&ping, 7));
    assert_documented("USAGE", &sent(&Request::Usage, 0));
}

#[test]
fn answers_are_as_documented() {
    let row = "WELCOME, version 4, `cofferd 0.1.0`, the first second of 2026, key unknown";
    assert_documented(row, &answered(&welcome(None), 0));
    let row = "WELCOME, the same to Zoë, enrolled a minute before";
    assert_documented(row, &answered(&welcome(Some(zoe())), 0));
    let enrolled = Answer::Enrolled(Enrolled { name: "Zoë".to_owned(), already: false });
    assert_documented("ENROLLED as Zoë, for the first time", &answered(&enrolled, 0));
    let pong = Answer::Pong(Pong { nonce: 1 });
    assert_documented("PONG, nonce 1, stream 7", &answered(&pong, 7));
    let used = Answer::Used(Used { versions: 3, bytes: 5_000_000_000, quota_bytes: None });
    let row = "USED, 3 versions, 5,000,000,000 bytes, no quota";
    assert_documented(row, &answered(&used, 0));
    let used = Answer::Used(Used { versions: 0, bytes: 0, quota_bytes: Some(50 << 30) });
    assert_documented("USED, nothing, a quota of 50 GiB", &answered(&used, 0));
    let no_such = Answer::Error(error(ErrorCode::BadCode, "no such invitation"));
    assert_documented("ERROR 4, `no such invitation`", &answered(&no_such, 0));
    let retry_after_ms = Some(1500);
    let later = ErrorMessage { retry_after_ms, ..error(ErrorCode::TooMany, "later") };
    assert_documented("ERROR 7, `later`, after 1500 ms", &answered(&Answer::Error(later), 0));
}

#[test]
fn error_codes_are_stable() {
    let named = [
        (1, ErrorCode::BadRequest),
        (2, ErrorCode::UnsupportedVersion),
        (3, ErrorCode::NotEnrolled),
        (4, ErrorCode::BadCode),
        (5, ErrorCode::NameTaken),
        (6, ErrorCode::Revoked),
        (7, ErrorCode::TooMany),
        (8, ErrorCode::TooSlow),
        (9, ErrorCode::Internal),
        (10, ErrorCode::ShuttingDown),
        (11, ErrorCode::Other(11)),
    ];
    for (number, code) in named {
        assert_eq!((ErrorCode::of_number(number), code.number()), (code, number));
    }
    answered(&Answer::Error(error(ErrorCode::Other(u16::MAX), "")), 0);
}

fn problem(kind: Kind, payload: &[u8]) -> String {
    let error = match Request::decode(kind, payload) {
        Err(MessageError::Direction(_)) => Answer::decode(kind, payload).expect_err("a problem"),
        other => other.expect_err("a problem"),
    };
    error.to_string()
}

/// HELLO with a software of `length` bytes.
fn hello_of(length: u16) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    let mut payload = vec![0xa3, 0, 4, 1, 4, 2, 0x79, high, low];
    payload.extend(vec![b'x'; length.into()]);
    payload
}

#[test]
fn fields_are_bounded_and_named() {
    assert!(Request::decode(Kind::Hello, &hello_of(64)).is_ok());
    assert_eq!(
        problem(Kind::Hello, &hello_of(65)),
        "HELLO cannot be read: decode error at position 6: software has 65 bytes, of at most 64",
    );
    let mut escape = hello_of(4);
    escape[9] = 0x1b;
    assert!(problem(Kind::Hello, &escape).ends_with("software holds a control character"));
    let secret = [&[0xa2, 0, 0x4f][..], &[7; 15], &[1, 0x60]].concat();
    assert!(problem(Kind::Enroll, &secret).ends_with("secret has 15 bytes and must have 16"));
    let host = |length: usize| {
        let head = [&[0xa2, 0, 0x50][..], &[7; 16], &[1, 0x79], &(length as u16).to_be_bytes()];
        [&head.concat(), &vec![b'h'; length][..]].concat()
    };
    assert!(Request::decode(Kind::Enroll, &host(255)).is_ok());
    assert!(problem(Kind::Enroll, &host(256)).ends_with("host has 256 bytes, of at most 255"));
    let name =
        |length: u8| [&[0xa2, 1, 0xf4, 0, 0x78, length][..], &vec![b'n'; length.into()]].concat();
    assert!(Answer::decode(Kind::Enrolled, &name(254)).is_ok());
    assert!(problem(Kind::Enrolled, &name(255)).ends_with("the name is longer than 254 bytes"));
    assert!(problem(Kind::Enrolled, &name(0)).ends_with("the name is empty"));
    let text = |length: u16| {
        let head = [&[0xa2, 0, 9, 1, 0x79][..], &length.to_be_bytes()].concat();
        [head, vec![b't'; length.into()]].concat()
    };
    assert!(Answer::decode(Kind::Error, &text(1024)).is_ok());
    assert!(problem(Kind::Error, &text(1025)).ends_with("text has 1025 bytes, of at most 1024"));
}

#[test]
fn what_is_malformed_is_told() {
    for (kind, payload, end) in [
        (Kind::Usage, &b""[..], "end of input bytes"),
        (Kind::Usage, b"\xa0\xa0", "USAGE has 1 bytes too many"),
        (Kind::Ping, b"\xa0", "(Ping::nonce) in map or array starting at position 0"),
        (Kind::Ping, b"\x81\x00", "unexpected type array at position 0: expected map"),
        (Kind::Hello, b"\xa3\x00\x04\x01\x04\x02\x44test", "at position 6: software"),
        (Kind::Hello, b"\xa3\x00\x04\x01\x04\x02\x64t", "end of input bytes: software"),
        (Kind::Hello, b"\xa1\x00\x1a\x00\x01\x00\x00", "at position 2: when converting u32 to u16"),
    ] {
        let problem = problem(kind, payload);
        assert!(problem.ends_with(end), "{problem}");
    }
}

/// What a later version adds is skipped, whatever it is; null is as good as nothing.
#[test]
fn messages_can_grow() {
    let ping = Ok(Request::Ping(Ping { nonce: 5 }));
    for payload in [
        &b"\xa2\x00\x05\x18\x63\x82\x01\xa1\x61a\xf6"[..],
        b"\xa2\x20\xbf\x00\x9f\x01\xff\xff\x00\x05",
        b"\xbf\x01\x5f\x41a\xff\x00\x05\xff",
    ] {
        assert_eq!(Request::decode(Kind::Ping, payload), ping, "{}", hex(payload));
    }
    assert_eq!(Request::decode(Kind::Usage, b"\xa1\x00\x01"), Ok(Request::Usage));
    let used = Answer::Used(Used { versions: 1, bytes: 2, quota_bytes: None });
    assert_eq!(Answer::decode(Kind::Used, b"\xa3\x00\x01\x01\x02\x02\xf6"), Ok(used));
}

/// Deep nesting and lengths that are not there take neither the stack nor memory.
#[test]
fn bombs_do_not_go_off() {
    let deep = |byte: u8| [&[0xa2, 0, 5, 1][..], &vec![byte; CONTROL_MAX as usize - 4]].concat();
    for byte in [0x81, 0x9f, 0xa1, 0xbf, 0xc1, 0xd8] {
        assert!(Request::decode(Kind::Ping, &deep(byte)).is_err(), "{byte:#x}");
    }
    for head in [0x5b, 0x7b, 0x9b, 0xbb] {
        let mut payload = vec![0xa2, 0, 5, 1, head];
        payload.extend([0xff; 8]);
        assert!(Request::decode(Kind::Ping, &payload).is_err(), "{head:#x}");
    }
    assert!(Request::decode(Kind::Ping, b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff\x00\x05").is_err());
}

#[test]
fn texts_are_made_to_fit() {
    let long = "ü".repeat(1000);
    let message = ErrorMessage::new(ErrorCode::Internal, &long);
    assert_eq!(message.text.len(), ERROR_TEXT_MAX);
    answered(&Answer::Error(message), 0);
    let enroll = Enroll::new(Secret::new([0; 16]), &format!("a\n{long}"));
    assert_eq!((enroll.host.len(), &enroll.host[..2]), (254, "a "));
    sent(&Request::Enroll(enroll), 0);
}

fn any_text(max: usize) -> impl Strategy<Value = String> {
    let kept = move |text: String| field::fitting(&text, max);
    prop::collection::vec(any::<char>(), 0..=max).prop_map(String::from_iter).prop_map(kept)
}

proptest! {
    #[test]
    fn requests_go_both_ways(
        versions: (u16, u16), software in any_text(SOFTWARE_MAX), secret: [u8; 16],
        host in any_text(HOST_MAX), nonce: u64, stream: u32,
    ) {
        let (version_min, version_max) = versions;
        sent(&Request::Hello(Hello { version_min, version_max, software }), stream);
        sent(&Request::Enroll(Enroll { secret: Secret::new(secret), host }), stream);
        sent(&Request::Ping(Ping { nonce }), stream);
    }

    #[test]
    fn answers_go_both_ways(
        numbers: (u64, u64, Option<u64>), code: u16, text in any_text(ERROR_TEXT_MAX), stream: u32,
    ) {
        let (versions, bytes, quota_bytes) = numbers;
        answered(&Answer::Used(Used { versions, bytes, quota_bytes }), stream);
        let code = ErrorCode::of_number(code);
        answered(&Answer::Error(ErrorMessage { code, text, retry_after_ms: quota_bytes }), stream);
    }

    #[test]
    fn any_payload_is_read_or_refused(payload: Vec<u8>) {
        for kind in Kind::ALL {
            let _ = (Request::decode(kind, &payload), Answer::decode(kind, &payload));
        }
    }
}
