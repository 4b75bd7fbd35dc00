//! Dialogues with a server in memory: what the session says, in the words of [`Talk::says`].

use coffer_protocol::reply::Reply;
use coffer_protocol::request::RequestHeader;
use coffer_protocol::{ClientId, Dialect, PACKET};

use super::*;

pub(super) const ME: ClientId = ClientId([0x77; 16]);
pub(super) const NEW: ClientId = ClientId([0x88; 16]);
pub(super) const CHECKSUM: u32 = 1000;
pub(super) const SIZE: u32 = 32;

/// A session and a shell that connects, opens keys and sends content as soon as it is asked.
pub(super) struct Talk {
    pub(super) session: Session,
    dialect: Dialect,
    said: Vec<String>,
    pub(super) key_opens: bool,
    pub(super) sends_content: bool,
    pub(super) connects: bool,
}

impl Talk {
    pub(super) fn new(dialect: Dialect, id: Option<ClientId>) -> Self {
        Self {
            session: Session::new(dialect, "Bob", vec![5; 160], id),
            dialect,
            said: Vec::new(),
            key_opens: true,
            sends_content: true,
            connects: true,
        }
    }

    /// A talk that has come to its session key.
    pub(super) fn identified(dialect: Dialect) -> Self {
        let mut talk = Self::new(dialect, Some(ME));
        talk.tell(Input::Identify);
        talk.answer(&Reply::Reconnected { id: ME, wrapped: vec![1; 128] });
        talk.said.clear();
        talk
    }

    /// ... and is waiting for the checksum of a file.
    pub(super) fn sent(dialect: Dialect) -> Self {
        let mut talk = Self::identified(dialect);
        talk.upload();
        talk.said.clear();
        talk
    }

    pub(super) fn tell(&mut self, input: Input<'_>) {
        self.session.handle(input);
        while let Some(output) = self.session.poll_output() {
            self.said.push(word(&output));
            match output {
                Output::Connect if self.connects => self.session.handle(Input::Connected),
                Output::Connect => self.session.handle(Input::Lost),
                Output::Unwrap { .. } => {
                    self.session.handle(Input::SessionKey { opened: self.key_opens });
                }
                Output::Content { .. } if self.sends_content => {
                    self.session.handle(Input::ContentSent { checksum: CHECKSUM });
                }
                _ => {}
            }
        }
    }

    pub(super) fn upload(&mut self) {
        self.tell(Input::Upload(Upload { file: b"a.txt".to_vec(), encrypted_size: SIZE }));
    }

    pub(super) fn answer(&mut self, reply: &Reply) {
        let mut bytes = Vec::new();
        reply.push(self.dialect, &mut bytes);
        self.tell(Input::Received(&bytes));
    }

    /// 1603 / 2103 with this checksum.
    pub(super) fn receipt(&mut self, checksum: u32) {
        let reply = receipt(checksum);
        self.answer(&reply);
    }

    pub(super) fn says(&mut self, words: &str) {
        let said = std::mem::take(&mut self.said).join(" ");
        assert_eq!(said, words);
    }
}

pub(super) fn receipt(checksum: u32) -> Reply {
    Reply::FileReceived { id: ME, encrypted_size: SIZE, file: b"a.txt".to_vec(), checksum }
}

fn word(output: &Output) -> String {
    match output {
        Output::Connect => "connect".to_owned(),
        Output::Send(bytes) => {
            let header = bytes.first_chunk().map(RequestHeader::parse).expect("a request");
            header.code.to_string()
        }
        Output::Content { attempt } => format!("content{attempt}"),
        Output::Unwrap { .. } => "unwrap".to_owned(),
        Output::SaveId(id) => format!("save-{}", &id.to_string()[..2]),
        Output::Close => "close".to_owned(),
        Output::Identified => "identified".to_owned(),
        Output::Mismatch { attempt, .. } => format!("wrong{attempt}"),
        Output::Reconnecting => "again".to_owned(),
        Output::Stored { attempts, acknowledged: true } => format!("stored{attempts}"),
        Output::Stored { attempts, .. } => format!("stored{attempts}-unacknowledged"),
        Output::Failed(failure) => format!("failed[{failure:?}]"),
    }
}

fn key(id: ClientId) -> Reply {
    Reply::Key { id, wrapped: vec![1; 128] }
}

#[test]
fn d825_registers_and_sends_many_files_over_one_connection() {
    let mut talk = Talk::new(Dialect::D825, None);
    talk.tell(Input::Identify);
    talk.says("connect 825");
    talk.answer(&Reply::Registered { id: ME });
    talk.says("save-77 826");
    talk.answer(&key(ME));
    talk.says("unwrap identified");
    for _ in 0..2 {
        talk.upload();
        talk.says("content1");
        talk.receipt(CHECKSUM);
        talk.says("900");
        talk.receipt(CHECKSUM);
        talk.says("stored1");
    }
}

#[test]
fn d1100_registers_and_sends_with_a_connection_for_each_request() {
    let mut talk = Talk::new(Dialect::D1100, None);
    talk.tell(Input::Identify);
    talk.says("connect 1100");
    talk.answer(&Reply::Registered { id: ME });
    talk.says("close save-77 connect 1101");
    talk.answer(&key(ME));
    talk.says("close unwrap identified");
    for _ in 0..2 {
        talk.upload();
        talk.says("connect content1");
        talk.receipt(CHECKSUM);
        talk.says("close connect 1104");
        talk.answer(&Reply::Acknowledged { id: ME });
        talk.says("close stored1");
    }
}

#[test]
fn an_upload_identifies_by_itself() {
    let mut talk = Talk::new(Dialect::D825, Some(ME));
    talk.upload();
    talk.says("connect 827");
    talk.answer(&Reply::Reconnected { id: ME, wrapped: vec![1; 128] });
    talk.says("unwrap content1");
}

/// 1606 brings a new id to go on with.
#[test]
fn d825_goes_on_with_the_id_of_a_refused_reconnection() {
    let mut talk = Talk::new(Dialect::D825, Some(ME));
    talk.tell(Input::Identify);
    talk.says("connect 827");
    talk.answer(&Reply::ReconnectRefused { id: NEW });
    talk.says("save-88 826");
    assert_eq!(talk.session.id(), Some(NEW));
    talk.answer(&key(NEW));
    talk.says("unwrap identified");
}

/// 2106 brings nothing new.
#[test]
fn d1100_registers_anew_after_a_refused_reconnection() {
    let mut talk = Talk::new(Dialect::D1100, Some(ME));
    talk.tell(Input::Identify);
    talk.says("connect 1102");
    talk.answer(&Reply::ReconnectRefused { id: ME });
    talk.says("close connect 1100");
    talk.answer(&Reply::Registered { id: NEW });
    talk.says("close save-88 connect 1101");
    talk.answer(&key(NEW));
    talk.says("close unwrap identified");
}

#[test]
fn d825_sends_again_and_ends_well_on_the_third_try() {
    let mut talk = Talk::sent(Dialect::D825);
    talk.receipt(1);
    talk.says("wrong1 901 content2");
    talk.receipt(2);
    talk.says("wrong2 901 content3");
    talk.receipt(CHECKSUM);
    talk.says("900");
    talk.receipt(CHECKSUM);
    talk.says("stored3");
}

#[test]
fn d825_gives_up_after_the_third_try() {
    let mut talk = Talk::sent(Dialect::D825);
    talk.receipt(1);
    talk.receipt(2);
    talk.says("wrong1 901 content2 wrong2 901 content3");
    talk.receipt(3);
    talk.says("wrong3 902");
    assert!(talk.session.answer_is_optional());
    talk.receipt(3);
    talk.says("close failed[Mismatch { ours: 1000, theirs: 3 }]");
    talk.upload();
    talk.says("connect 827");
}

#[test]
fn d1100_sends_again_whatever_1105_is_answered() {
    let mut talk = Talk::sent(Dialect::D1100);
    talk.receipt(1);
    talk.says("close wrong1 connect 1105");
    talk.answer(&Reply::Acknowledged { id: ME });
    talk.says("close connect content2");
    talk.receipt(2);
    talk.says("close wrong2 connect 1105");
    talk.answer(&Reply::Error);
    talk.says("close connect content3");
    talk.receipt(3);
    talk.says("close wrong3 connect 1106");
    talk.answer(&Reply::Acknowledged { id: ME });
    talk.says("close failed[Mismatch { ours: 1000, theirs: 3 }]");
}

#[test]
fn d1100_sends_again_when_1105_is_not_answered() {
    let mut talk = Talk::sent(Dialect::D1100);
    talk.receipt(1);
    assert!(talk.session.answer_is_optional());
    talk.tell(Input::Lost);
    talk.says("close wrong1 connect 1105 connect content2");
}

/// Only the whole packet is an answer, however it is cut, unless the server closes behind the payload.
#[test]
fn d1100_reads_whole_packets() {
    let mut bytes = Vec::new();
    receipt(CHECKSUM).push(Dialect::D1100, &mut bytes);
    for cut in [1, 7, 286, PACKET - 1] {
        let mut talk = Talk::sent(Dialect::D1100);
        talk.tell(Input::Received(&bytes[..cut]));
        talk.says("");
        talk.tell(Input::Received(&bytes[cut..]));
        talk.says("close connect 1104");
    }
    let mut talk = Talk::sent(Dialect::D1100);
    talk.tell(Input::Received(&bytes[..286]));
    talk.tell(Input::Lost);
    talk.says("close connect 1104");
}

#[test]
fn d825_reads_answers_however_they_are_cut() {
    let mut bytes = Vec::new();
    receipt(1).push(Dialect::D825, &mut bytes);
    receipt(CHECKSUM).push(Dialect::D825, &mut bytes);
    receipt(CHECKSUM).push(Dialect::D825, &mut bytes);
    for piece in [1, 6, 7, 100, bytes.len()] {
        let mut talk = Talk::sent(Dialect::D825);
        bytes.chunks(piece).for_each(|piece| talk.tell(Input::Received(piece)));
        talk.says("wrong1 901 content2 900 stored2");
    }
}

/// The classic d825 server: a header that announces 255 bytes, the 16 of the id, and the end.
#[test]
fn the_malformed_acknowledgement_counts() {
    for (announced, closes) in [(255, true), (255, false), (17, true)] {
        let mut talk = Talk::sent(Dialect::D825);
        talk.receipt(CHECKSUM);
        talk.says("900");
        talk.tell(Input::Received(&[3, 0x44, 6, announced, 0, 0, 0]));
        talk.tell(Input::Received(&ME.0[..9]));
        talk.says("");
        talk.tell(Input::Received(&ME.0[9..]));
        talk.says("close stored1-unacknowledged");
        if closes {
            talk.tell(Input::Lost);
        }
        talk.upload();
        talk.says("connect 827");
    }
}

#[test]
fn a_sound_1604_is_an_acknowledgement_like_1603() {
    let mut talk = Talk::sent(Dialect::D825);
    talk.receipt(CHECKSUM);
    talk.answer(&Reply::Acknowledged { id: ME });
    talk.upload();
    talk.says("900 stored1 content1");
}

/// The classic d825 server closes after 901; the sending is tried over a new connection, and counts once.
#[test]
fn a_connection_closed_after_a_verdict_is_made_again_once() {
    let mut talk = Talk::sent(Dialect::D825);
    talk.receipt(1);
    talk.says("wrong1 901 content2");
    talk.tell(Input::Lost);
    talk.says("again connect 827");
    talk.answer(&Reply::Reconnected { id: ME, wrapped: vec![1; 128] });
    talk.says("unwrap content2");
    talk.receipt(2);
    talk.says("wrong2 901 content3");
    talk.tell(Input::Lost);
    talk.says("again connect 827");
    talk.answer(&Reply::Reconnected { id: ME, wrapped: vec![1; 128] });
    talk.says("unwrap content3");
    talk.tell(Input::Lost);
    talk.says("failed[Lost(SendingAgain)]");
}

#[test]
fn a_connection_lost_between_files_is_made_again() {
    let mut talk = Talk::sent(Dialect::D825);
    talk.receipt(CHECKSUM);
    talk.receipt(CHECKSUM);
    talk.says("900 stored1");
    talk.tell(Input::Lost);
    talk.upload();
    talk.says("connect 827");
}
