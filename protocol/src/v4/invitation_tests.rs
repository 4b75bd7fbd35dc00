//! Invitations as text, against codes that another program made (with Python's base64 and hashlib).

use super::*;
use proptest::prelude::*;

const DOCS: &str = include_str!("../../../docs/PROTOCOL.md");

const TWO: &str = "\
    coffer1-AILWK-EYLDL-NN2XA-ALTFL-PBQWK-24DMJ-MUXG2-4ZLU6-HIYTN-ENJWB-CJNTE-EMBQF-GE5GD-IY\
    RY7-HI5DT-CXJ2X-GEZDK-KNQAB-AEBAJ-GBAFV-AYDQQ-QCIK3-BMGAF-2DQPC-CAIR6-EEYUE-CULBD-OGAZV-\
    DINR2-YHI63-D7YPR-D4XT5-6T27G-N57YL-7H5P3-X7H5H-7372I-KG3R2-BUR";

fn invitation(addresses: &[&str]) -> Invitation {
    Invitation {
        server: Pin(std::array::from_fn(|index| index as u8)),
        addresses: addresses.iter().map(|&address| address.to_owned()).collect(),
        secret: Secret::new(std::array::from_fn(|index| 0xf0 | index as u8)),
    }
}

fn two() -> Invitation {
    invitation(&["backup.example.net:1256", "[2001:db8::1]:1256"])
}

fn error(code: &str) -> InvitationError {
    Invitation::from_code(code).expect_err("no invitation")
}

/// The code of any bytes, with a right check: what another program might make.
fn code_of(mut bytes: Vec<u8>) -> String {
    bytes.extend(check(&bytes));
    let mut code = PREFIX.to_owned();
    groups::push(&bytes, &mut code);
    code
}

#[test]
fn codes_are_as_documented() {
    assert_eq!(*two().code(), TWO);
    let local = invitation(&["127.0.0.1:1256"]).code();
    assert!(DOCS.contains(&format!("\n    {}\n", *local)), "{}", *local);
    assert!(DOCS.contains(&invitation(&[]).server.to_string()));
}

#[test]
fn codes_may_be_pasted_and_typed() {
    let wrapped = format!("  {}\n", TWO.to_lowercase().replace("-c", "-\r\n  c"));
    for same in [TWO, &wrapped, &TWO.replace('-', " ").replacen(' ', "-", 1)] {
        assert_eq!(Invitation::from_code(same), Ok(two()));
    }
}

#[test]
fn what_is_no_code_is_told_from_what_is_newer() {
    for other in ["", "coffer", "coffer-", "coffer0-AA", "hunter2-AILWK", &TWO[8..]] {
        assert_eq!(error(other), InvitationError::NotACode, "{other}");
    }
    assert_eq!(error("Coffer2-ANYTHING"), InvitationError::Newer(2));
}

#[test]
fn errors_say_which_group() {
    let slip = TWO.replacen("NN2XA", "NN2AX", 1);
    assert_eq!(error(&slip), InvitationError::Groups(GroupError::Check { group: 3 }));
    assert_eq!(
        error(&slip).to_string(),
        "this invitation cannot be read: group 3 is wrong: compare it with the original, character by character",
    );
    let typed = TWO.replacen("NN2XA", "NN2X1", 1);
    let character = GroupError::Character { group: 3, found: '1' };
    assert_eq!(error(&typed), InvitationError::Groups(character));
}

/// Also where a piece of a group happens to fit as a shorter group.
#[test]
fn what_is_cut_off_is_told() {
    let body = TWO.len() - PREFIX.len();
    for length in 0..body {
        let characters = length - length / 6;
        let group = characters / 5 + 1;
        let cut = &TWO[..PREFIX.len() + length];
        assert_eq!(error(cut), InvitationError::Groups(GroupError::CutOff { group }), "{cut}");
    }
}

#[test]
fn groups_of_two_invitations_do_not_mix() {
    let mut other = two();
    other.secret = Secret::new([7; SECRET]);
    let other = other.code();
    let mixed = format!("{}{}", &TWO[..PREFIX.len() + 198], &other[PREFIX.len() + 198..]);
    assert_eq!(error(&mixed), InvitationError::Check);
    let mut bytes = groups::read(&TWO[PREFIX.len()..], BYTES_MAX).expect("our own").to_vec();
    bytes.push(0);
    let mut longer = PREFIX.to_owned();
    groups::push(&bytes, &mut longer);
    assert_eq!(error(&longer), InvitationError::Check);
    let too_long = GroupError::TooLong { groups_max: 431 };
    assert_eq!(error(&code_of(vec![0; BYTES_MAX])), InvitationError::Groups(too_long));
}

#[test]
fn what_no_invitation_says_is_refused() {
    let rest = [0; PIN + SECRET];
    assert_eq!(error(&code_of([&[0][..], &rest].concat())), InvitationError::Count(0));
    let five = b"\x05\x03a:1\x03a:1\x03a:1\x03a:1\x03a:1";
    assert_eq!(error(&code_of([&five[..], &rest].concat())), InvitationError::Count(5));
    let wrong = b"\x02\x03a:1\x03a b";
    let problem = AddressError::Character(' ');
    assert_eq!(
        error(&code_of([&wrong[..], &rest].concat())),
        InvitationError::Address { number: 2, problem },
    );
}

#[test]
fn addresses_have_a_host_and_a_port() {
    for good in ["a:1", "backup.example.net:65535", "192.0.2.1:1256", "[::1]:1256"] {
        assert_eq!(check_address(good), Ok(()), "{good}");
    }
    let long = format!("{}:1", "a".repeat(ADDRESS_MAX - 1));
    for (bad, problem) in [
        ("", AddressError::Form),
        ("host", AddressError::Form),
        (":1256", AddressError::Form),
        ("[]:1256", AddressError::Form),
        ("[::1:1256", AddressError::Brackets),
        ("::1:1256", AddressError::Brackets),
        ("a[b]:1", AddressError::Form),
        ("a:", AddressError::Port),
        ("a:0", AddressError::Port),
        ("a:+1", AddressError::Port),
        ("a:65536", AddressError::Port),
        ("a b:1", AddressError::Character(' ')),
        ("a\u{1b}[2J:1", AddressError::Character('\u{1b}')),
        ("bücher.example:1", AddressError::Character('ü')),
        (&long, AddressError::TooLong(256)),
    ] {
        assert_eq!(check_address(bad), Err(problem), "{bad}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let printed = format!("{:?}", two());
    assert!(printed.contains("Secret(hidden)"));
    assert!(!printed.contains("240") && !printed.contains("f0"), "{printed}");
    assert!(Secret::new([1; SECRET]) != two().secret);
}

#[test]
#[should_panic(expected = "was not checked")]
fn addresses_are_checked_before() {
    let _ = invitation(&["nowhere"]).code();
}

proptest! {
    #[test]
    fn codes_go_both_ways(
        addresses in prop::collection::vec("[a-z0-9.-]{1,250}:[1-9][0-9]{0,3}", 1..=ADDRESSES_MAX),
        server: [u8; PIN],
        secret: [u8; SECRET],
    ) {
        let invitation = Invitation { server: Pin(server), addresses, secret: Secret::new(secret) };
        let code = invitation.code();
        prop_assert_eq!(Invitation::from_code(&code), Ok(invitation));
    }

    #[test]
    fn one_wrong_character_is_found(place in 0..200_usize, letter in "[A-Z2-7]") {
        let mut slip = TWO.to_owned();
        let place = PREFIX.len() + place;
        prop_assume!(&slip[place..=place] != "-" && slip[place..=place] != letter);
        slip.replace_range(place..=place, &letter);
        let group = (place - PREFIX.len()) / 6 + 1;
        prop_assert_eq!(error(&slip), InvitationError::Groups(GroupError::Check { group }));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(coffer1-)?\\PC*") {
        let _ = Invitation::from_code(&text);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Invitation::from_code(&code_of(bytes));
    }
}
