//! Consuming input: requests are decoded when they are whole, content is passed on in the buffer that it arrived in.
//!
//! Framing holds `consumed <= parsed <= received`: a header is checked before its payload is awaited.

use coffer_protocol::decode::Sizes;
use coffer_protocol::request::{
    FILE_PACKET, FilePacket, PAYLOAD_MAX, REQUEST_HEADER, Request, RequestHeader,
};
use coffer_protocol::{Dialect, PACKET};

use super::packets::{OutOfOrder, PacketStream, Template};
use super::{Connection, Stage, Surroundings};
use crate::buffer::{Buffer, Pool};
use crate::job::{Job, Layout, Piece, UploadId, Work};
use crate::limits::LEFTOVER_MAX;
use crate::session::{Offer, Reason, Refusal, Session};

/// Packets or chunks that are copied out of a buffer when what stands behind them is too much to be copied instead.
const COPIED_PACKETS_MAX: usize = 16;

/// Where the bytes after the last whole request belong.
pub(super) enum Content {
    /// To the next request.
    None,
    /// d825: packets of an open upload.
    Packets(UploadId, PacketStream),
    /// d825: repeats of packets of an upload that is complete, to be ignored.
    Complete(Template),
    /// d825: the rest of an upload that was refused.
    RefusedPackets { template: Template, left: u32 },
    /// d1100: chunks of an open upload; bytes of ciphertext to come.
    Chunks { upload: UploadId, missing: u32 },
    /// d1100: an upload that will be refused when it has been read, so that the answer arrives.
    RefusedChunks { missing: u32, refusal: Refusal },
}

/// A buffer and how far it is consumed.
#[derive(Default)]
pub(super) struct Input {
    pub(super) buffer: Buffer,
    pub(super) at: usize,
}

impl Input {
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer.filled()[self.at..]
    }
}

/// What stands at the front of the input.
enum Next {
    /// This many bytes, dealt with.
    Consumed(usize),
    /// Content for an upload.
    Content(UploadId, Layout),
    /// Not enough to tell.
    Incomplete,
}

impl Connection {
    /// Consumes what it can of the input and keeps the rest.
    pub(super) fn advance(&mut self, cx: &mut Surroundings, mut input: Input) {
        while self.may_advance() {
            match self.next(cx, input.rest()) {
                Next::Consumed(count) => input.at += count,
                Next::Content(upload, layout) => input = self.pass_on(cx, upload, layout, input),
                Next::Incomplete => break,
            }
        }
        self.keep(cx.pool, input);
    }

    /// Keeps a small rest in a buffer of its own, and a large one where it is.
    fn keep(&mut self, pool: &mut Pool, input: Input) {
        let open = self.stage == Stage::Open;
        if open && input.rest().len() > LEFTOVER_MAX {
            self.leftover = input;
            return;
        }
        self.leftover = match input.rest() {
            rest if open && !rest.is_empty() => Input { buffer: Buffer::copy_of(rest), at: 0 },
            _ => Input::default(),
        };
        pool.give(input.buffer);
    }

    fn next(&mut self, cx: &mut Surroundings, rest: &[u8]) -> Next {
        match &mut self.content {
            Content::Chunks { upload, missing } => match chunks(rest.len(), *missing) {
                0 => Next::Incomplete,
                length => Next::Content(*upload, Layout::Plain(length)),
            },
            Content::RefusedChunks { missing, refusal } => {
                let length = rest.len().min(*missing as usize);
                *missing -= length as u32;
                if *missing == 0 {
                    let refusal = refusal.clone();
                    self.conclude(cx, Err(refusal));
                    return Next::Consumed(length);
                }
                if length == 0 { Next::Incomplete } else { Next::Consumed(length) }
            }
            Content::Packets(upload, stream) => match stream.run(rest) {
                0 => self.next_request(cx, rest),
                count => Next::Content(*upload, Layout::Packets(count)),
            },
            Content::None | Content::Complete(_) | Content::RefusedPackets { .. } => {
                self.next_request(cx, rest)
            }
        }
    }

    /// Gives content to a worker: in its buffer if little stands behind it, else a part of it in a copy.
    fn pass_on(
        &mut self,
        cx: &mut Surroundings,
        upload: UploadId,
        layout: Layout,
        mut input: Input,
    ) -> Input {
        let whole = wire_len(layout);
        let fits = input.rest().len() - whole <= LEFTOVER_MAX;
        let layout = if fits { layout } else { shortened(layout) };
        let length = wire_len(layout);
        let (piece, rest) = if fits {
            let rest = Input { buffer: Buffer::copy_of(&input.rest()[length..]), at: 0 };
            (Piece { buffer: input.buffer, at: input.at, layout }, rest)
        } else {
            let buffer = Buffer::copy_of(&input.rest()[..length]);
            input.at += length;
            (Piece { buffer, at: 0, layout }, input)
        };
        self.push_piece(cx, upload, piece);
        self.content_passed(cx, upload, layout);
        rest
    }

    fn push_piece(&mut self, cx: &mut Surroundings, upload: UploadId, piece: Piece) {
        self.jobs_in_flight += 1;
        let connection = cx.session.connection;
        cx.session.jobs.push(Job { connection, work: Work::Piece(upload, piece) });
    }

    /// Counts what was passed on, and ends the upload when it was the last.
    fn content_passed(&mut self, cx: &mut Surroundings, upload: UploadId, layout: Layout) {
        let complete = match (&mut self.content, layout) {
            (Content::Chunks { missing, .. }, Layout::Plain(length)) => {
                *missing -= length as u32;
                *missing == 0
            }
            (Content::Packets(_, stream), Layout::Packets(count)) => {
                stream.advance(count);
                let held = stream.take_held();
                let complete = stream.is_complete();
                if !held.is_empty() {
                    let layout = Layout::Plain(held.len());
                    self.push_piece(
                        cx,
                        upload,
                        Piece { buffer: Buffer::copy_of(&held), at: 0, layout },
                    );
                }
                complete
            }
            _ => unreachable!("content is passed on while an upload is open"),
        };
        if complete {
            self.content_complete(cx);
        }
    }

    fn content_complete(&mut self, cx: &mut Surroundings) {
        self.content = match std::mem::replace(&mut self.content, Content::None) {
            Content::Packets(_, stream) => Content::Complete(stream.into_template()),
            _ => Content::None,
        };
        if let Some((_, session)) = &mut self.session {
            session.content_complete(&mut cx.session);
        }
    }

    /// A request, if it is whole. Its header is checked before its payload is awaited.
    fn next_request(&mut self, cx: &mut Surroundings, rest: &[u8]) -> Next {
        let Some(header) = rest.first_chunk().map(RequestHeader::parse) else {
            return Next::Incomplete;
        };
        let RequestHeader { code, payload_len, .. } = header;
        let Some(dialect) = self.dialect_for(code) else {
            self.refuse_and_close(cx, Reason::UnknownCode(code).error());
            return Next::Consumed(rest.len());
        };
        let kind = dialect.kind(code).expect("the code chose the dialect");
        if let Some(reason) = self.refused.clone() {
            self.refuse_and_close(cx, reason.error());
            return Next::Consumed(rest.len());
        }
        if payload_len as usize > PAYLOAD_MAX {
            self.refuse_and_close(cx, Reason::PayloadLength { code, payload_len }.error());
            return Next::Consumed(rest.len());
        }
        let length = REQUEST_HEADER + payload_len as usize;
        let Some(payload) = rest.get(REQUEST_HEADER..length) else {
            return Next::Incomplete;
        };
        match Request::parse(dialect, kind, payload) {
            None => self.conclude(cx, Err(Reason::PayloadLength { code, payload_len }.error())),
            Some(Request::Packet(packet)) => {
                return Next::Consumed(self.packet(cx, header, &packet, &rest[..length]));
            }
            Some(Request::Upload { .. }) if rest.len() < PACKET => return Next::Incomplete,
            Some(Request::Upload { encrypted_size, file }) => {
                self.upload(cx, header, encrypted_size, file);
                return Next::Consumed(PACKET);
            }
            Some(request) => self.request(cx, header, &request),
        }
        Next::Consumed(length)
    }

    /// The connection's dialect, chosen by its first request. `None` if the code is not one of it.
    fn dialect_for(&mut self, code: u16) -> Option<Dialect> {
        let dialect = match &self.session {
            Some((dialect, _)) => *dialect,
            None => Dialect::of_code(code)?,
        };
        dialect.kind(code)?;
        self.session.get_or_insert_with(|| (dialect, Session::new(dialect, self.peer.ip())));
        Some(dialect)
    }

    fn request(&mut self, cx: &mut Surroundings, header: RequestHeader, request: &Request) {
        if let Content::Packets(..) = self.content {
            self.abandon(cx);
        }
        self.content = Content::None;
        let Some((_, session)) = &mut self.session else { return };
        let outcome = session.request(&mut cx.session, header.client, request);
        self.conclude(cx, outcome);
    }

    fn abandon(&mut self, cx: &mut Surroundings) {
        if let Some((_, session)) = &mut self.session {
            session.abandon(&mut cx.session);
        }
        self.content = Content::None;
    }

    /// A file is announced, in either dialect.
    fn begin(&mut self, cx: &mut Surroundings, offer: &Offer) -> Result<UploadId, Refusal> {
        let (_, session) = self.session.as_mut().expect("a request made it");
        let upload = session.begin(&mut cx.session, offer)?;
        self.jobs_in_flight += 1;
        Ok(upload)
    }

    /// 1103.
    fn upload(
        &mut self,
        cx: &mut Surroundings,
        header: RequestHeader,
        encrypted_size: u32,
        file: &[u8],
    ) {
        let sizes = Sizes::d1100(encrypted_size);
        match self.begin(cx, &Offer { client: header.client, file, sizes }) {
            Ok(_) if encrypted_size == 0 => self.content_complete(cx),
            Ok(upload) => self.content = Content::Chunks { upload, missing: encrypted_size },
            // Nobody can say how much would have to be read.
            Err(refusal) if sizes.is_err() || encrypted_size == 0 => {
                self.conclude(cx, Err(refusal));
            }
            Err(refusal) => {
                self.content = Content::RefusedChunks { missing: encrypted_size, refusal }
            }
        }
    }

    /// 828, unless it is the next of an open upload. Returns how many bytes it consumed: none where it opened an
    /// upload, for then it is looked at again as content.
    fn packet(
        &mut self,
        cx: &mut Surroundings,
        header: RequestHeader,
        packet: &FilePacket,
        bytes: &[u8],
    ) -> usize {
        match &mut self.content {
            Content::Packets(_, stream) if stream.template().matches(bytes) => {
                let missing = stream.next();
                if stream.hold(packet) == OutOfOrder::TooFarAhead {
                    let reason = Reason::TooFarAhead { number: packet.number, missing };
                    self.refuse_packets(cx, packet, bytes, reason.error());
                }
            }
            Content::Packets(..) if packet.number != 0 => {
                self.refuse_packets(cx, packet, bytes, Reason::ForeignPacket.error());
            }
            Content::Complete(template) if template.matches(bytes) => {}
            Content::RefusedPackets { template, left }
                if packet.number != 0 && template.matches(bytes) =>
            {
                *left -= 1;
                if *left == 0 {
                    self.content = Content::None;
                }
            }
            _ => return self.first_packet(cx, header, packet, bytes),
        }
        FILE_PACKET
    }

    fn first_packet(
        &mut self,
        cx: &mut Surroundings,
        header: RequestHeader,
        packet: &FilePacket,
        bytes: &[u8],
    ) -> usize {
        if let Content::Packets(..) = self.content {
            self.abandon(cx);
        }
        let sizes = Sizes::d825(packet.encrypted_size, packet.plain_size, packet.count);
        match self.begin(cx, &Offer { client: header.client, file: packet.file, sizes }) {
            Ok(upload) => {
                self.content = Content::Packets(upload, PacketStream::new(bytes, packet.count));
                0
            }
            Err(refusal) => {
                self.refuse_packets(cx, packet, bytes, refusal);
                FILE_PACKET
            }
        }
    }

    /// Answers at once, and lets the rest of the upload pass by.
    fn refuse_packets(
        &mut self,
        cx: &mut Surroundings,
        packet: &FilePacket,
        bytes: &[u8],
        refusal: Refusal,
    ) {
        if let Content::Packets(..) = self.content {
            self.abandon(cx);
        }
        // What a client means to send it sends whole before it reads, whatever it announced.
        let packets = packet.encrypted_size.div_ceil(PACKET as u32).max(packet.count.into());
        let left = packets.saturating_sub(1);
        self.content = match left {
            0 => Content::None,
            left => Content::RefusedPackets { template: Template::of(bytes), left },
        };
        self.conclude(cx, Err(refusal));
    }
}

/// Bytes on the wire of a run of content.
fn wire_len(layout: Layout) -> usize {
    match layout {
        Layout::Plain(length) => length,
        Layout::Packets(count) => count * FILE_PACKET,
    }
}

/// The front of a run, small enough to be copied.
fn shortened(layout: Layout) -> Layout {
    match layout {
        Layout::Plain(length) => Layout::Plain(length.min(COPIED_PACKETS_MAX * PACKET)),
        Layout::Packets(count) => Layout::Packets(count.min(COPIED_PACKETS_MAX)),
    }
}

/// How many of `available` bytes a worker can decrypt on their own: whole chunks, or all that is missing.
fn chunks(available: usize, missing: u32) -> usize {
    if available >= missing as usize { missing as usize } else { available / PACKET * PACKET }
}
