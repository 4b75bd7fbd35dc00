//! Version 4: frames with their messages, and the texts that people paste.

use coffer_protocol::v4::fingerprint::Pin;
use coffer_protocol::v4::frame::{CONTROL_MAX, FRAME_HEADER, FrameHeader};
use coffer_protocol::v4::invitation::{ADDRESSES_MAX, Invitation, Secret, check_address};
use coffer_protocol::v4::message::{Answer, Request};

use super::bytes::Bytes;

/// A frame. What is read of it is written in one form, which is read as the same.
pub(crate) fn frame(data: &[u8]) {
    let Some((header, payload)) = data.split_first_chunk::<FRAME_HEADER>() else { return };
    let Ok(parsed) = FrameHeader::decode(header) else { return };
    assert!(parsed.length <= CONTROL_MAX, "what is awaited is bounded");
    assert_eq!(parsed.encode(), *header);
    // Its length does not matter here: the fuzzer need not find out how it goes with the rest.
    let mut again = Vec::new();
    if let Ok(request) = Request::decode(parsed.kind, payload) {
        assert!(Answer::decode(parsed.kind, payload).is_err(), "a kind has one direction");
        request.frame(parsed.stream, &mut again);
        let (header, payload) = split(&again);
        assert_eq!((header.kind, header.stream), (request.kind(), parsed.stream));
        assert_eq!(Request::decode(header.kind, payload), Ok(request));
    } else if let Ok(answer) = Answer::decode(parsed.kind, payload) {
        answer.frame(parsed.stream, &mut again);
        let (header, payload) = split(&again);
        assert_eq!((header.kind, header.stream), (answer.kind(), parsed.stream));
        assert_eq!(Answer::decode(header.kind, payload), Ok(answer));
    }
}

fn split(frame: &[u8]) -> (FrameHeader, &[u8]) {
    let (header, payload) = frame.split_first_chunk::<FRAME_HEADER>().expect("a frame");
    let header = FrameHeader::decode(header).expect("our own");
    assert_eq!(header.length as usize, payload.len());
    (header, payload)
}

/// An invitation's code or a fingerprint; or an invitation out of choices, with a slip in its code.
pub(crate) fn code(data: &[u8]) {
    let mut bytes = Bytes(data);
    if bytes.byte() & 1 == 0 {
        let Ok(text) = std::str::from_utf8(bytes.0) else { return };
        if let Ok(invitation) = Invitation::from_code(text) {
            let again = invitation.code();
            assert_eq!(Invitation::from_code(&again), Ok(invitation));
        }
        if let Ok(pin) = text.parse::<Pin>() {
            assert_eq!(pin.to_string().parse(), Ok(pin));
        }
    } else if let Some(invitation) = invitation(&mut bytes) {
        let code = invitation.code();
        slip(&code, &mut bytes);
        assert_eq!(Invitation::from_code(&code), Ok(invitation));
    }
}

fn invitation(bytes: &mut Bytes) -> Option<Invitation> {
    let server = Pin(std::array::from_fn(|_| bytes.byte()));
    let secret = Secret::new(std::array::from_fn(|_| bytes.byte()));
    let mut addresses = Vec::new();
    for _ in 0..=bytes.below(ADDRESSES_MAX) {
        let length = usize::from(bytes.byte());
        let address = std::str::from_utf8(bytes.take(length)).ok()?;
        check_address(address).ok()?;
        addresses.push(address.to_owned());
    }
    Some(Invitation { server, addresses, secret })
}

/// One wrong character behind the prefix, or two neighbours that changed places, is never taken for a code.
fn slip(code: &str, bytes: &mut Bytes) {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ2345670189";
    let mut characters = code.as_bytes().to_vec();
    let start = code.find('-').expect("behind the prefix") + 1;
    let place = start + usize::from(bytes.u16()) % (characters.len() - start - 1);
    if bytes.byte() & 1 == 0 {
        characters[place] = bytes.one_of(LETTERS);
    } else {
        characters.swap(place, place + 1);
    }
    let slip = String::from_utf8(characters).expect("ASCII");
    // A dash that moved is none: the characters and their order are what counts.
    if slip.replace('-', "") != code.replace('-', "") {
        assert!(Invitation::from_code(&slip).is_err(), "{slip} for {code}");
    }
}
