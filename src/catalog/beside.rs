//! Transactions of whoever writes to the catalog beside a running server.

use rusqlite::{Connection, Result as SqlResult, Transaction, TransactionBehavior};

use super::CatalogError;

/// Runs `step` in a transaction of its own, which takes the write lock at once. After an error nothing of it stays.
///
/// # Errors
/// [`CatalogError::Busy`] if somebody else writes for too long, and whatever else the catalog says.
pub(super) fn in_transaction<T>(
    connection: &mut Connection,
    doing: &'static str,
    step: impl FnOnce(&Transaction<'_>) -> SqlResult<T>,
) -> Result<T, CatalogError> {
    let run = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = step(&transaction)?;
        transaction.commit()?;
        Ok(result)
    };
    run().map_err(CatalogError::while_locking(doing))
}
