//! Findings in words: what is wrong with what, and what to do about it, one line each.

use std::os::unix::ffi::OsStrExt;

use super::super::{count, names::printed};
use crate::scrub::{EntryFault, Finding, Outcome, Summary, VersionName, Wrong};

/// Said of what `--repair` would put right.
const REPAIR: &str = "run `cofferd check --repair`";

/// A finding as a line.
pub(super) fn finding(finding: &Finding) -> String {
    let outcome = &finding.outcome;
    if let Outcome::Failed(why) = outcome {
        return format!(
            "{}; it could not be repaired: {}",
            wrong(&finding.what),
            printed(why.as_bytes())
        );
    }
    let advice = match &finding.what {
        Wrong::Catalog(_) => {
            "put a good copy in its place (see \"the catalog is gone or damaged\" in OPERATIONS.md); nothing else was checked".to_owned()
        }
        Wrong::Content { .. } => content_advice(finding),
        Wrong::Mark(_) if *outcome == Outcome::Mended => "it counts again".to_owned(),
        Wrong::Entry(..) if *outcome == Outcome::Mended => "it was made anew".to_owned(),
        Wrong::Stranger(_) if *outcome == Outcome::Mended => "it was moved to lost/".to_owned(),
        Wrong::Entry(_, EntryFault::Missing | EntryFault::Other) => {
            format!("{REPAIR}, or restart the server")
        }
        Wrong::Mark(_) | Wrong::Entry(..) | Wrong::Stranger(_) => REPAIR.to_owned(),
        Wrong::Orphan { is_published, .. } => orphan_advice(*is_published, outcome).to_owned(),
    };
    format!("{}: {advice}", wrong(&finding.what))
}

/// What is wrong with what.
fn wrong(what: &Wrong) -> String {
    match what {
        Wrong::Catalog(fault) => format!("catalog.db: {}", printed(fault.as_bytes())),
        Wrong::Content { version, fault, .. } => format!("{}: {fault}", name(version)),
        Wrong::Mark(version) => {
            format!("{}: it is marked as damaged, but its content is good", name(version))
        }
        Wrong::Entry(version, fault) => format!("{}: {}", name(version), entry(fault)),
        Wrong::Stranger(path) => {
            format!("{}: it is no client's file", printed(path.as_os_str().as_bytes()))
        }
        Wrong::Orphan { blob, bytes, .. } => {
            let path = blob.path();
            format!("blobs/{}: no version refers to it, {bytes} bytes", path.display())
        }
    }
}

fn name(VersionName { client, file, version }: &VersionName) -> String {
    format!("client {}, file {}, version {version}", printed(client.as_bytes()), printed(file))
}

fn entry(fault: &EntryFault) -> &'static str {
    match fault {
        EntryFault::Missing => "the view does not show it",
        EntryFault::Other => "the view shows something else (another mode, size or time)",
        EntryFault::Edited => "its file in the view has other bytes",
    }
}

fn content_advice(finding: &Finding) -> String {
    let Wrong::Content { version, fault, is_newest, is_marked, good } = &finding.what else {
        unreachable!("asked for a content only")
    };
    let client = printed(version.client.as_bytes());
    match &finding.outcome {
        Outcome::Mended => "it was put back from the view".to_owned(),
        _ if !fault.is_rot() => "see that this user may read it, and check again".to_owned(),
        Outcome::Found if !is_marked => {
            format!("put it back from a backup, or {REPAIR} so that it can be sent again")
        }
        _ => match (is_newest, good) {
            (true, Some(good)) => {
                format!(
                    "it is marked: {client} must send it again, version {good} counts until then"
                )
            }
            (true, None) => {
                format!("it is marked: {client} must send it again, there is no good version")
            }
            (false, Some(good)) => {
                format!("it is marked: version {good} counts, `cofferd prune` removes this one")
            }
            (false, None) => "it is marked: there is no good version".to_owned(),
        },
    }
}

fn orphan_advice(is_published: bool, outcome: &Outcome) -> &'static str {
    match (is_published, outcome) {
        (_, Outcome::Mended) => "it was moved to lost/",
        (false, _) => {
            "an interrupted upload left it; run `cofferd check --repair`, or restart the server"
        }
        (true, _) => {
            "it was acknowledged once, so the catalog may be an older copy: see \"the catalog is an older copy\" in OPERATIONS.md"
        }
    }
}

/// All that was done, as a line.
pub(super) fn summary(summary: &Summary) -> String {
    let Summary { versions, bytes, digests, digests_unsaved, not_yet_shown, findings, mended } =
        *summary;
    let mut text = format!("checked {}, read {bytes} bytes", count(versions, "version"));
    for (number, what) in [
        (digests, "new BLAKE3 digests"),
        (digests_unsaved, "BLAKE3 digests not stored (the disk is full, or the catalog locked)"),
        (not_yet_shown, "so new that the view need not show them yet"),
    ] {
        if number > 0 {
            text += &format!(", {number} {what}");
        }
    }
    match findings {
        0 => text + ": all is well",
        _ => format!("{text}: {}, {mended} put right", count(findings, "finding")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrub::Fault;
    use crate::storage::BlobId;

    fn content(is_newest: bool, is_marked: bool, good: Option<u32>, outcome: Outcome) -> String {
        let version =
            VersionName { client: "Bob".to_owned(), file: b"a\n\x1b[2Jb".to_vec(), version: 3 };
        let fault = Fault::Missing(BlobId::new(1, 2));
        finding(&Finding {
            what: Wrong::Content { version, fault, is_newest, is_marked, good },
            outcome,
        })
    }

    #[test]
    fn a_line_says_whose_what_and_what_to_do() {
        let subject = r"client Bob, file a\x0a\x1b[2Jb, version 3: its content is missing (blobs/00000001/00000000/0002): ";
        for (line, advice) in [
            (content(true, false, None, Outcome::Found), "put it back from a backup, or run"),
            (
                content(true, false, Some(2), Outcome::Marked),
                "it is marked: Bob must send it again, version 2 counts",
            ),
            (
                content(true, true, None, Outcome::Found),
                "it is marked: Bob must send it again, there is no good",
            ),
            (
                content(false, true, Some(4), Outcome::Found),
                "it is marked: version 4 counts, `cofferd prune`",
            ),
            (content(true, false, None, Outcome::Mended), "it was put back from the view"),
        ] {
            assert!(line.starts_with(subject), "{line}");
            assert!(line[subject.len()..].starts_with(advice), "{line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn what_failed_says_why() {
        let line = content(true, false, None, Outcome::Failed("no\nspace".to_owned()));
        assert!(line.ends_with(r"; it could not be repaired: no\x0aspace"), "{line}");
    }
}
