//! Requests and replies: framing and decoding in both dialects.

use coffer_protocol::Dialect;
use coffer_protocol::reply::{REPLY_HEADER, REPLY_PAYLOAD_MAX, Reply, ReplyHeader};
use coffer_protocol::request::{REQUEST_HEADER, Request, RequestHeader};

/// A request: what is read of it is written again as the same bytes.
pub(crate) fn request(data: &[u8]) {
    let Some((header, payload)) = data.split_first_chunk::<REQUEST_HEADER>() else { return };
    let parsed = RequestHeader::parse(header);
    let Some(dialect) = Dialect::of_code(parsed.code) else { return };
    let kind = dialect.kind(parsed.code).expect("its own code");
    assert_eq!(dialect.code(kind), parsed.code);
    let payload = &payload[..payload.len().min(parsed.payload_len as usize)];
    let Some(request) = Request::parse(dialect, kind, payload) else { return };
    assert_eq!(request.kind(), kind);
    let mut again = Vec::new();
    request.push(dialect, parsed.client, &mut again);
    assert_eq!(again.len(), dialect.padded_len(REQUEST_HEADER + payload.len()));
    assert_eq!(again[..16], header[..16]);
    assert_eq!(again[17..19], header[17..19]);
    assert_eq!(again[REQUEST_HEADER..][..payload.len()], *payload);
}

/// A reply in the dialect that the first byte chooses.
pub(crate) fn reply(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let dialect = if choice & 1 == 0 { Dialect::D825 } else { Dialect::D1100 };
    let Some((header, payload)) = data.split_first_chunk::<REPLY_HEADER>() else { return };
    let header = ReplyHeader::parse(header);
    let Ok(length) = Reply::payload_len(dialect, header) else {
        assert!(
            payload.len() != header.payload_len as usize
                || Reply::parse(dialect, header.code, payload).is_err()
        );
        return;
    };
    assert!(length <= REPLY_PAYLOAD_MAX, "what is awaited is bounded");
    let Some(payload) = payload.get(..length) else { return };
    let reply = Reply::parse(dialect, header.code, payload).expect("the length was checked");
    let mut again = Vec::new();
    reply.push(dialect, &mut again);
    assert_eq!(again.len(), dialect.padded_len(REPLY_HEADER + length));
    assert_eq!(again[1..REPLY_HEADER], data[1..REPLY_HEADER]);
    assert_eq!(again[REPLY_HEADER..][..length], *payload);
}
