//! Who was registered and what the server acknowledged: what the oracle holds it to.

use coffer_protocol::ClientId;

use crate::args::Sizes;
use crate::content::Content;

/// One client as the server knows it.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Once the server gave it one.
    pub(crate) id: Option<ClientId>,
    /// The files that the server acknowledged, in that order.
    pub(crate) acknowledged: Vec<u32>,
}

/// All clients of a run, by their numbers.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) seed: u64,
    sizes: Sizes,
    accounts: Vec<Account>,
}

impl Ledger {
    pub(crate) fn new(seed: u64, sizes: Sizes) -> Self {
        Self { seed, sizes, accounts: Vec::new() }
    }

    /// A new client; returns its number.
    pub(crate) fn open(&mut self) -> usize {
        self.accounts.push(Account::default());
        self.accounts.len() - 1
    }

    pub(crate) fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    pub(crate) fn account_mut(&mut self, number: usize) -> &mut Account {
        &mut self.accounts[number]
    }

    /// The name of a client: no two runs share one, unless their seed is the same.
    pub(crate) fn name(&self, number: usize) -> String {
        format!("load-{:016x}-{number}", self.seed)
    }

    pub(crate) fn content(&self, number: usize, file: u32) -> Content {
        Content::new(self.seed, self.sizes, number, file)
    }

    /// Files that were acknowledged, in all.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.accounts.iter().map(|account| account.acknowledged.len() as u64).sum()
    }
}

/// The name of a client's file.
pub(crate) fn file_name(file: u32) -> Vec<u8> {
    format!("file-{file:08}").into_bytes()
}

/// The file that has this name, if it is one of ours.
pub(crate) fn file_number(name: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(name.strip_prefix(b"file-")?).ok()?;
    let number = digits.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_go_both_ways() {
        for number in [0, 7, 123_456_789] {
            assert_eq!(file_number(&file_name(number)), Some(number));
        }
        for other in [&b"file-1"[..], b"file-+0000001", b"other", b"file-"] {
            assert_eq!(file_number(other), None);
        }
    }
}
