//! Builds the queries of a store, for all files that may use a pooler.
//!
//! Behind a pooler in transaction mode, no statement has a name. There each transaction may have
//! another session, and the name would exist in the first one only.

use std::borrow::Cow;

use sqlx::{
    FromRow, Postgres,
    postgres::{PgArguments, PgRow},
    query::{Query, QueryScalar},
};

use crate::store::tables::Tables;

type Scalar<O> = QueryScalar<'static, Postgres, O, PgArguments>;

impl Tables {
    /// Gives no statement a name in its session.
    pub(super) fn with_unnamed_statements(mut self) -> Self {
        self.has_unnamed_statements = true;
        self
    }

    /// Returns a query with the names of this store's tables.
    pub(super) fn query(&self, text: impl Into<Cow<'static, str>>) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(self.sql(text)).persistent(!self.has_unnamed_statements)
    }

    /// Returns a query of one column, as [`query`](Self::query) does.
    pub(super) fn query_scalar<O>(&self, text: impl Into<Cow<'static, str>>) -> Scalar<O>
    where
        (O,): for<'r> FromRow<'r, PgRow>,
    {
        sqlx::query_scalar(self.sql(text)).persistent(!self.has_unnamed_statements)
    }

    /// Returns a query with these arguments, as [`query`](Self::query) does.
    pub(super) fn query_with(
        &self,
        text: &'static str,
        arguments: PgArguments,
    ) -> Query<'static, Postgres, PgArguments> {
        sqlx::query_with(self.sql(text), arguments).persistent(!self.has_unnamed_statements)
    }
}
