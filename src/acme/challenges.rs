//! What the authority is shown over HTTP as proof
//! ([RFC 8555 §8.3](https://www.rfc-editor.org/rfc/rfc8555#section-8.3)).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    extract::{self, Path},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

/// The proofs of orders under way. Clones are the same ones.
#[derive(Clone, Debug, Default)]
pub struct Challenges(Arc<Mutex<HashMap<String, String>>>);

/// A proof, shown until this is dropped.
#[derive(Debug)]
pub(super) struct Shown {
    challenges: Challenges,
    token: String,
}

impl Challenges {
    /// Answers where the authority asks, and nowhere else.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/.well-known/acme-challenge/{token}", get(answer))
            .with_state(self.clone())
    }

    pub(super) fn show(&self, token: &str, proof: &str) -> Shown {
        self.proofs().insert(token.to_owned(), proof.to_owned());
        Shown {
            challenges: self.clone(),
            token: token.to_owned(),
        }
    }

    fn proofs(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.challenges.proofs().remove(&self.token);
    }
}

async fn answer(
    extract::State(challenges): extract::State<Challenges>,
    Path(token): Path<String>,
) -> Response {
    match challenges.proofs().get(&token) {
        Some(proof) => {
            let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
            (kind, proof.clone()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
