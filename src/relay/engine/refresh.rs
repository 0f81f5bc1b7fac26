//! Refresh ([RFC 8656 §8.2](https://www.rfc-editor.org/rfc/rfc8656#section-8.2)): of the whole allocation, or of the
//! family that it names.

use std::time::Duration;

use crate::clock::Now;
use crate::relay::engine::Engine;
use crate::relay::engine::auth::Identity;
use crate::relay::engine::five_tuple::{Family, FiveTuple};
use crate::relay::engine::requests::owned;
use crate::relay::wire::request::Request;
use crate::relay::wire::response::{ErrorCode, Response};

impl Engine {
    pub(super) fn refresh(
        &mut self,
        now: Now,
        client: FiveTuple,
        request: &Request<'_>,
        identity: &Identity,
    ) -> Result<Vec<u8>, ErrorCode> {
        let allocation = owned(&mut self.allocations, now, client, identity)?;
        let family = match request.requested_family()? {
            Some(number) => Some(
                Family::from_number(number)
                    .filter(|family| allocation.reaches(now, *family))
                    .ok_or(ErrorCode::PeerAddressFamilyMismatch)?,
            ),
            None => None,
        };
        let lifetime = match request.lifetime()? {
            Some(Duration::ZERO) => Duration::ZERO,
            Some(_) | None => self.granted_lifetime(now, request, identity)?,
        };
        match family {
            Some(family) if lifetime.is_zero() => self.let_go_of(now, client, family, ENDED),
            None if lifetime.is_zero() => self.let_go(now, client, ENDED),
            Some(_) | None => {
                let expires_at = now.mono + lifetime;
                self.allocations.set_expiry(client, family, expires_at);
            }
        }
        let response = Response::success(request.reply_to).lifetime(lifetime);
        Ok(self.with_software(response).finish(identity.key()))
    }
}

const ENDED: &str = "refreshed with lifetime 0";
