//! What a request says about who sent it, before anybody looks whether it is true
//! ([RFC 8489 §9.2.4](https://www.rfc-editor.org/rfc/rfc8489#section-9.2.4), the checks that need no secret).

use crate::credentials::PasswordAlgorithm;
use crate::relay::wire::integrity::{Codes, Integrity};
use crate::relay::wire::request::Request;
use crate::relay::wire::response::{ErrorCode, PASSWORD_ALGORITHMS};

/// A signed request's name, nonce and code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature<'d> {
    pub(super) name: Name<'d>,
    pub(super) nonce: &'d [u8],
    /// ACCESS-TOKEN.
    pub(super) token: Option<&'d [u8]>,
    /// How the client made its key.
    pub(super) algorithm: PasswordAlgorithm,
    pub(super) integrity: Integrity<'d>,
    /// How the answer is to be signed.
    pub(super) codes: Codes,
}

/// Whom a request names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Name<'d> {
    /// USERNAME.
    Plain(&'d [u8]),
    /// USERHASH.
    Hashed(&'d [u8]),
}

impl<'d> Signature<'d> {
    /// 401 when there is none, 400 when it is incomplete or contradicts itself or what was offered.
    ///
    /// The REALM must be there and is not used: the key is made with ours.
    pub(super) fn of(request: &Request<'d>) -> Result<Self, ErrorCode> {
        let integrities = request.integrities();
        let Some(integrity) = integrities.decisive() else {
            return Err(ErrorCode::Unauthenticated);
        };
        let name = match (request.username(), request.user_hash()) {
            (Some(username), None) => Name::Plain(username),
            (None, Some(hash)) => Name::Hashed(hash),
            (Some(_), Some(_)) | (None, None) => return Err(ErrorCode::BadRequest),
        };
        let (Some(_), Some(nonce)) = (request.realm(), request.nonce()) else {
            return Err(ErrorCode::BadRequest);
        };
        if !integrity.is_whole() {
            return Err(ErrorCode::BadRequest);
        }
        let chosen = chosen(request)?;
        Ok(Self {
            name,
            nonce,
            token: request.access_token(),
            algorithm: chosen.unwrap_or(PasswordAlgorithm::Md5),
            integrity,
            codes: Codes {
                sha1: integrities.sha1.is_some(),
                sha256: integrities.sha1.is_none() || chosen.is_some(),
            },
        })
    }
}

/// The password algorithm that the client chose from all that it was offered.
fn chosen(request: &Request<'_>) -> Result<Option<PasswordAlgorithm>, ErrorCode> {
    let offered = request.password_algorithms();
    match (request.password_algorithm(), offered) {
        (None, None) => Ok(None),
        (Some([0, 1, 0, 0]), Some(offered)) if *offered == PASSWORD_ALGORITHMS => {
            Ok(Some(PasswordAlgorithm::Md5))
        }
        (Some([0, 2, 0, 0]), Some(offered)) if *offered == PASSWORD_ALGORITHMS => {
            Ok(Some(PasswordAlgorithm::Sha256))
        }
        (Some(_), _) | (None, Some(_)) => Err(ErrorCode::BadRequest),
    }
}
