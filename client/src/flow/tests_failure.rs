//! Dialogues that end badly, and bytes that are no dialogue.

use coffer_protocol::reply::Reply;
use coffer_protocol::{ClientId, Dialect};
use proptest::prelude::*;

use super::tests::{CHECKSUM, ME, NEW, SIZE, Talk, receipt};
use super::*;

const BOTH: [Dialect; 2] = [Dialect::D825, Dialect::D1100];

#[test]
fn a_taken_name_and_a_refused_key() {
    for (dialect, sent) in [(Dialect::D825, "826"), (Dialect::D1100, "close save-77 connect 1101")]
    {
        let mut talk = Talk::new(dialect, None);
        talk.tell(Input::Identify);
        talk.answer(&Reply::RegistrationRefused);
        talk.says(&format!("connect {dialect} close failed[NameRefused]"));
        talk.tell(Input::Identify);
        talk.answer(&Reply::Registered { id: ME });
        let sent =
            if dialect == Dialect::D825 { format!("save-77 {sent}") } else { sent.to_owned() };
        talk.answer(&Reply::Error);
        talk.says(&format!("connect {dialect} {sent} close failed[Refused(SendingKey)]"));
    }
}

#[test]
fn a_refused_reconnection_and_an_unknown_key() {
    for dialect in BOTH {
        let mut talk = Talk::new(dialect, Some(ME));
        talk.tell(Input::Identify);
        talk.answer(&Reply::Error);
        let code = dialect.number() + 2;
        talk.says(&format!("connect {code} close failed[Refused(Reconnecting)]"));
        talk.key_opens = false;
        talk.tell(Input::Identify);
        talk.answer(&Reply::Reconnected { id: ME, wrapped: vec![1; 128] });
        let closed = if dialect == Dialect::D1100 { "close unwrap" } else { "unwrap close" };
        talk.says(&format!("connect {code} {closed} failed[Key]"));
    }
}

#[test]
fn a_refused_upload_and_a_refused_verdict() {
    for dialect in BOTH {
        let mut talk = Talk::sent(dialect);
        talk.answer(&Reply::Error);
        talk.says("close failed[Refused(Sending)]");
        let mut talk = Talk::sent(dialect);
        talk.receipt(CHECKSUM);
        talk.answer(&Reply::Error);
        let verdict = if dialect == Dialect::D825 { "900" } else { "close connect 1104" };
        talk.says(&format!("{verdict} close failed[Refused(Confirming)]"));
    }
}

/// The classic d1100 server takes no file twice.
#[test]
fn a_refused_second_sending() {
    let mut talk = Talk::sent(Dialect::D1100);
    talk.receipt(1);
    talk.answer(&Reply::Acknowledged { id: ME });
    talk.answer(&Reply::Error);
    talk.says(
        "close wrong1 connect 1105 close connect content2 close failed[Refused(SendingAgain)]",
    );
}

/// d825 pipelines, and the refusal arrives while the client still sends; any other answer waits for its turn.
#[test]
fn a_refusal_in_the_middle_of_the_content_is_heard_at_once() {
    for (dialect, connect) in [(Dialect::D825, ""), (Dialect::D1100, "connect ")] {
        let mut talk = Talk::identified(dialect);
        talk.sends_content = false;
        talk.upload();
        assert!(talk.session.awaits_content());
        talk.answer(&Reply::Error);
        assert!(!talk.session.awaits_content());
        talk.says(&format!("{connect}content1 close failed[Refused(Sending)]"));
        talk.tell(Input::ContentSent { checksum: CHECKSUM });
        talk.tell(Input::Lost);
        talk.says("");

        let mut talk = Talk::identified(dialect);
        talk.sends_content = false;
        talk.upload();
        talk.receipt(CHECKSUM);
        talk.says(&format!("{connect}content1"));
        talk.tell(Input::ContentSent { checksum: CHECKSUM });
        talk.says(if dialect == Dialect::D825 { "900" } else { "close connect 1104" });
    }
}

#[test]
fn a_lost_connection_is_never_a_success() {
    for dialect in BOTH {
        let mut talk = Talk::new(dialect, None);
        talk.tell(Input::Identify);
        talk.tell(Input::Lost);
        talk.says(&format!("connect {dialect} failed[Lost(Registering)]"));
        let mut talk = Talk::sent(dialect);
        talk.tell(Input::Lost);
        talk.says("failed[Lost(Sending)]");
        let mut talk = Talk::sent(dialect);
        talk.receipt(CHECKSUM);
        talk.tell(Input::Lost);
        let verdict = if dialect == Dialect::D825 { "900" } else { "close connect 1104" };
        talk.says(&format!("{verdict} failed[Lost(Confirming)]"));
        let mut talk = Talk::new(dialect, Some(ME));
        talk.connects = false;
        talk.upload();
        talk.says("connect failed[Lost(Reconnecting)]");
    }
}

#[test]
fn an_unanswered_farewell_is_a_mismatch() {
    for dialect in BOTH {
        let mut talk = Talk::sent(dialect);
        for wrong in 1..=3 {
            talk.receipt(wrong);
            if dialect == Dialect::D1100 && wrong < 3 {
                talk.answer(&Reply::Acknowledged { id: ME });
            }
        }
        talk.tell(Input::Lost);
        let said = match dialect {
            Dialect::D825 => "wrong1 901 content2 wrong2 901 content3 wrong3 902 ",
            Dialect::D1100 => {
                "close wrong1 connect 1105 close connect content2 close wrong2 connect 1105 \
                 close connect content3 close wrong3 connect 1106 "
            }
        };
        talk.says(&format!("{said}failed[Mismatch {{ ours: 1000, theirs: 3 }}]"));
    }
}

/// What the classic clients check in 1603 / 2103. d1100's does not look at the size.
#[test]
fn an_answer_about_somebody_or_something_else_fails() {
    let receipt = |id, encrypted_size, file: &[u8]| Reply::FileReceived {
        id,
        encrypted_size,
        file: file.to_vec(),
        checksum: CHECKSUM,
    };
    let failed =
        |what: &str| format!("close failed[Foreign {{ step: Sending, what: \"{what}\" }}]");
    for dialect in BOTH {
        for (reply, what) in [
            (receipt(NEW, SIZE, b"a.txt"), "client id"),
            (receipt(ME, SIZE, b"b.txt"), "file name"),
        ] {
            let mut talk = Talk::sent(dialect);
            talk.answer(&reply);
            talk.says(&failed(what));
        }
    }
    let mut talk = Talk::sent(Dialect::D825);
    talk.answer(&receipt(ME, SIZE + 16, b"a.txt"));
    talk.says(&failed("encrypted size"));
    let mut talk = Talk::sent(Dialect::D1100);
    talk.answer(&receipt(ME, SIZE + 16, b"a.txt"));
    talk.says("close connect 1104");
}

#[test]
fn keys_and_acknowledgements_for_somebody_else_fail() {
    let foreign = |step| format!("close failed[Foreign {{ step: {step}, what: \"client id\" }}]");
    for dialect in BOTH {
        let mut talk = Talk::new(dialect, Some(ME));
        talk.tell(Input::Identify);
        talk.answer(&Reply::Reconnected { id: NEW, wrapped: vec![1; 128] });
        let code = dialect.number() + 2;
        talk.says(&format!("connect {code} {}", foreign("Reconnecting")));
    }
    let mut talk = Talk::sent(Dialect::D1100);
    talk.receipt(CHECKSUM);
    talk.answer(&Reply::Acknowledged { id: NEW });
    talk.says(&format!("close connect 1104 {}", foreign("Confirming")));
    let mut talk = Talk::sent(Dialect::D825);
    talk.receipt(CHECKSUM);
    talk.tell(Input::Received(&[&[3, 0x44, 6, 255, 0, 0, 0], &NEW.0[..]].concat()));
    talk.says(&format!("900 {}", foreign("Confirming")));
}

#[test]
fn answers_to_another_question_and_nonsense_fail() {
    let mut talk = Talk::sent(Dialect::D825);
    talk.answer(&Reply::Registered { id: ME });
    talk.says("close failed[Unexpected { step: Sending, code: 1600 }]");
    let mut talk = Talk::sent(Dialect::D1100);
    talk.tell(Input::Received(b"HTTP/1.1 400 Bad Request"));
    talk.says("close failed[Garbage { step: Sending, error: UnknownCode(21588) }]");
    let mut talk = Talk::sent(Dialect::D825);
    talk.tell(Input::Received(&[3, 0x43, 6, 0, 0, 0, 0]));
    let error = "Length { code: 1603, payload_len: 0 }";
    talk.says(&format!("close failed[Garbage {{ step: Sending, error: {error} }}]"));
    let mut talk = Talk::identified(Dialect::D825);
    talk.sends_content = false;
    talk.upload();
    for _ in 0..9 {
        talk.tell(Input::Received(&[3; 1000]));
    }
    talk.says("content1 close failed[Flood]");
}

/// What was queued for the server must not reach it when the id could not be kept.
#[test]
fn an_abandoned_registration_sends_no_key() {
    let mut session = Session::new(Dialect::D825, "Bob", vec![5; 160], None);
    session.handle(Input::Identify);
    assert_eq!(session.poll_output(), Some(Output::Connect));
    session.handle(Input::Connected);
    assert!(matches!(session.poll_output(), Some(Output::Send(_))));
    let mut bytes = Vec::new();
    Reply::Registered { id: ME }.push(Dialect::D825, &mut bytes);
    session.handle(Input::Received(&bytes));
    assert_eq!(session.poll_output(), Some(Output::SaveId(ME)));
    session.handle(Input::Abandon);
    assert_eq!(session.poll_output(), Some(Output::Close));
    assert_eq!(session.poll_output(), None);
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let id = prop_oneof![Just(ME), Just(NEW), Just(ClientId::NONE)];
    let checksum = prop_oneof![Just(CHECKSUM), any::<u32>()];
    prop_oneof![
        id.clone().prop_map(|id| Reply::Registered { id }),
        Just(Reply::RegistrationRefused),
        id.clone().prop_map(|id| Reply::Key { id, wrapped: vec![1; 128] }),
        checksum.prop_map(receipt),
        id.clone().prop_map(|id| Reply::Acknowledged { id }),
        id.clone().prop_map(|id| Reply::Reconnected { id, wrapped: vec![1; 128] }),
        id.prop_map(|id| Reply::ReconnectRefused { id }),
        Just(Reply::Error),
    ]
}

#[derive(Clone, Debug)]
enum Move {
    Reply(Reply),
    Bytes(Vec<u8>),
    Lost,
    Abandon,
    Content,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => any_reply().prop_map(Move::Reply),
        1 => any::<Vec<u8>>().prop_map(Move::Bytes),
        1 => Just(Move::Lost),
        1 => Just(Move::Abandon),
        2 => Just(Move::Content),
    ]
}

proptest! {
    /// Whatever a server does, nothing panics, and nothing is stored that it did not confirm.
    #[test]
    fn any_server_is_survived(moves in proptest::collection::vec(any_move(), 0..40), d825: bool, known: bool) {
        let dialect = if d825 { Dialect::D825 } else { Dialect::D1100 };
        let mut session = Session::new(dialect, "Bob", vec![5; 160], known.then_some(ME));
        let upload = || Input::Upload(Upload { file: b"a.txt".to_vec(), encrypted_size: SIZE });
        session.handle(upload());
        let mut right = false;
        for next in moves {
            let mut bytes = Vec::new();
            match next {
                Move::Reply(reply) => {
                    right |= reply == receipt(CHECKSUM);
                    reply.push(dialect, &mut bytes);
                    session.handle(Input::Received(&bytes));
                }
                Move::Bytes(bytes) => session.handle(Input::Received(&bytes)),
                Move::Lost => session.handle(Input::Lost),
                Move::Abandon => {
                    session.handle(Input::Abandon);
                    while session.poll_output().is_some() {}
                    session.handle(upload());
                }
                Move::Content => session.handle(Input::ContentSent { checksum: CHECKSUM }),
            }
            while let Some(output) = session.poll_output() {
                match output {
                    Output::Connect => session.handle(Input::Connected),
                    Output::Unwrap { .. } => session.handle(Input::SessionKey { opened: true }),
                    Output::Content { attempt } => prop_assert!((1..=TRIES_MAX).contains(&attempt)),
                    Output::Stored { attempts, .. } => {
                        prop_assert!(right && (1..=TRIES_MAX).contains(&attempts));
                        session.handle(upload());
                    }
                    Output::Failed(_) => session.handle(upload()),
                    _ => {}
                }
            }
        }
    }
}
