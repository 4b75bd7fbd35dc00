//! An upload between its offer and its verdict, in either dialect.

use std::sync::Arc;

use coffer_protocol::cipher::SessionKey;
use coffer_protocol::decode::{Attempt, Finished};
use coffer_protocol::name::check_file_name;
use coffer_protocol::reply::Reply;
use coffer_protocol::request::Verdict;
use coffer_protocol::{ClientId, Dialect};

use super::refusal::{Reason, Refusal};
use super::{Context, Offer};
use crate::job::{Begin, UploadId, Work};
use crate::limits::COLLECTED_BYTES_MAX;

/// An upload whose content is arriving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) upload: UploadId,
    pub(super) file: Vec<u8>,
    pub(super) encrypted_size: u32,
}

impl Open {
    /// Checks an offer and starts its upload. `before` is the attempt at the same file that was just called wrong.
    pub(super) fn begin(
        cx: &mut Context,
        dialect: Dialect,
        client: ClientId,
        key: &Arc<SessionKey>,
        offer: &Offer,
        before: Option<Attempt>,
    ) -> Result<Self, Refusal> {
        if offer.client != client {
            return Err(Reason::ForeignId.error());
        }
        let file =
            check_file_name(offer.file).map_err(|error| Reason::from(error).error())?.to_vec();
        let sizes = offer.sizes.map_err(|error| Reason::from(error).error())?;
        let is_large = sizes.plain_max() > COLLECTED_BYTES_MAX;
        cx.shared.admission.begin_upload(is_large).map_err(Reason::error)?;
        let upload = cx.shared.new_upload(is_large);
        let (key, refuse_existing) = (Arc::clone(key), cx.shared.existing.refuses(dialect));
        let begin = Begin { client, file: file.clone(), sizes, key, refuse_existing, before };
        cx.push(Work::Begin(upload, Box::new(begin)));
        Ok(Self { upload, file, encrypted_size: sizes.encrypted() })
    }

    /// The content is complete.
    pub(super) fn finish(&self, cx: &mut Context) {
        cx.shared.admission.end_upload(self.upload.is_large);
        cx.push(Work::Finish(self.upload));
    }

    /// The content will never be complete.
    pub(super) fn break_off(&self, cx: &mut Context) {
        cx.shared.admission.end_upload(self.upload.is_large);
        cx.push(Work::Discard(self.upload));
    }

    pub(super) fn received(self, finished: &Finished) -> Received {
        Received {
            upload: self.upload,
            file: self.file,
            encrypted_size: self.encrypted_size,
            checksum: finished.checksum,
            attempt: finished.attempt,
        }
    }
}

/// An upload that is complete and waits for its verdict, or has just had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) upload: UploadId,
    pub(super) file: Vec<u8>,
    pub(super) encrypted_size: u32,
    pub(super) checksum: u32,
    pub(super) attempt: Option<Attempt>,
}

impl Received {
    /// 1603 / 2103.
    pub(super) fn reply(&self, id: ClientId) -> Reply {
        Reply::FileReceived {
            id,
            encrypted_size: self.encrypted_size,
            file: self.file.clone(),
            checksum: self.checksum,
        }
    }
}

/// The verdict that an upload has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) received: Received,
    pub(super) verdict: Verdict,
}
