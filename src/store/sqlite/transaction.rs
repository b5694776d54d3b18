//! One change: a transaction that writes, and says that it is done only if it went to the file that others open too.

use std::ops::{Deref, DerefMut};

use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::file::Files;

/// Dropped, it is rolled back.
pub(super) struct WriteTransaction<'f> {
    transaction: Transaction<'static, Sqlite>,
    files: &'f Files,
}

// === impl Change ===

impl<'f> WriteTransaction<'f> {
    /// Takes the file for writing.
    pub(super) async fn begin(writer: &SqlitePool, files: &'f Files) -> Result<Self, sqlx::Error> {
        files.check()?;
        Ok(Self { transaction: writer.begin_with("begin immediate").await?, files })
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await?;
        self.files.check()
    }
}

impl Deref for WriteTransaction<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for WriteTransaction<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}
