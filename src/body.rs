//! The body of a response: that of the inner service, or that of a rejection.

use std::{
    fmt::Debug,
    panic::{RefUnwindSafe, UnwindSafe},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// Contains the unchanged body of the inner service, or the body of a rejection.
    ///
    /// `ResponseBody<B>` implements [`Body`] if `B` does and its data can be made from [`Bytes`].
    /// The bodies of axum, tonic and hyper meet this.
    ///
    /// ```
    /// use tower_api_key::layer::ResponseBody;
    ///
    /// fn is_body<B: http_body::Body>() {}
    /// is_body::<ResponseBody<axum::body::Body>>();
    /// is_body::<ResponseBody<http_body_util::Full<bytes::Bytes>>>();
    /// ```
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        source: Source<B>,
    }
}

pin_project! {
    #[project = SourceProjection]
    #[derive(Debug)]
    enum Source<B> {
        Inner {
            #[pin]
            body: B,
            held: Option<Held>,
        },
        Refusal {
            bytes: Bytes,
        },
    }
}

/// A value that a response holds until its body has ended: its places in limits on requests at the
/// same time.
pub(crate) type Held = Arc<dyn Debug + Send + Sync + UnwindSafe + RefUnwindSafe>;

impl<B> ResponseBody<B> {
    pub(crate) fn inner(body: B, held: Option<Held>) -> Self {
        let source = Source::Inner { body, held };
        Self { source }
    }

    pub(crate) fn refusal(bytes: Bytes) -> Self {
        let source = Source::Refusal { bytes };
        Self { source }
    }
}

/// Returns an empty body. tower-http's `CorsLayer` needs it for its response to a preflight.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::refusal(Bytes::new())
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().source.project() {
            SourceProjection::Inner { body, .. } => body.poll_frame(context),
            SourceProjection::Refusal { bytes } if bytes.is_empty() => Poll::Ready(None),
            SourceProjection::Refusal { bytes } => {
                let frame = Frame::data(std::mem::take(bytes).into());
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Inner { body, .. } => body.is_end_stream(),
            Source::Refusal { bytes } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Inner { body, .. } => body.size_hint(),
            Source::Refusal { bytes } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
