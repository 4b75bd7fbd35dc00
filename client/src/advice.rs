//! What to do about a failed session.

use crate::flow::{Failure, Step};

/// The end of the failure's line.
pub(crate) fn advice(failure: Failure) -> &'static str {
    match failure {
        Failure::NameRefused => {
            "choose another client name, or use the folder that holds the me.info of this one"
        }
        Failure::Refused(step) => refused(step),
        Failure::Mismatch { .. } => {
            "nothing was replaced on the server; check the network and the server's disk, then send it again"
        }
        Failure::Lost(step) => lost(step),
        Failure::Garbage { .. } | Failure::Unexpected { .. } | Failure::Flood => {
            "check that a server of this dialect listens at that address"
        }
        Failure::Foreign { what: "file name", .. } => {
            "a classic server keeps one file per client and connection; send this one under another client name"
        }
        Failure::Foreign { .. } => "check that the server runs properly, then send it again",
        Failure::Key => {
            "restore the me.info and priv.key that belong to this client, or have the server's operator reset its key"
        }
    }
}

fn refused(step: Step) -> &'static str {
    match step {
        Step::Reconnecting | Step::OpeningKey => {
            "restore the me.info that belongs to this name, or have the server's operator reset its key"
        }
        Step::Registering | Step::SendingKey => {
            "wait some minutes and try again, or choose another client name"
        }
        Step::Sending => {
            "it may hold a file of this name already, or lack space; ask its operator or read its log"
        }
        Step::SendingAgain => {
            "a classic server takes no file twice; send it under another file name"
        }
        Step::Confirming => "the file does not count as stored; send it again",
    }
}

fn lost(step: Step) -> &'static str {
    match step {
        Step::Sending | Step::SendingAgain => {
            "send it again; a classic server also closes on names with folders, on a second file of a client, and on files over about 64 KiB unless --paced"
        }
        Step::Confirming => "the file may or may not be stored; send it again",
        Step::Reconnecting => {
            "try again; a classic server also closes when the id in me.info is not the one it knows for this name"
        }
        Step::Registering | Step::SendingKey | Step::OpeningKey => {
            "check that a server of this dialect listens at that address, then try again"
        }
    }
}
