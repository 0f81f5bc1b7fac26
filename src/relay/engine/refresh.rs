//! Refresh ([RFC 8656 §8.2](https://www.rfc-editor.org/rfc/rfc8656#section-8.2)).

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
        let family: u8 = match allocation.family() {
            Family::V4 => 0x01,
            Family::V6 => 0x02,
        };
        if request
            .requested_family()?
            .is_some_and(|asked| asked != family)
        {
            return Err(ErrorCode::PeerAddressFamilyMismatch);
        }
        let lifetime = match request.lifetime()? {
            Some(Duration::ZERO) => Duration::ZERO,
            Some(_) | None => self.granted_lifetime(request)?,
        };
        if lifetime.is_zero() {
            self.let_go(client, "refreshed with lifetime 0");
        } else {
            self.allocations.set_expiry(client, now.mono + lifetime);
        }
        let response = Response::success(request.reply_to).lifetime(lifetime);
        Ok(self.with_software(response).finish(identity.key()))
    }
}
