//! Refresh ([RFC 8656 §8.2](https://www.rfc-editor.org/rfc/rfc8656#section-8.2)): of the whole allocation, or of the
//! family that it names.

use std::time::Duration;

use crate::clock::Now;
use crate::relay::engine::Engine;
use crate::relay::engine::auth::Identity;
use crate::relay::engine::ending::Ending;
use crate::relay::engine::five_tuple::{Family, FiveTuple};
use crate::relay::engine::mobility::Named;
use crate::relay::engine::requests::{check_owner, owned};
use crate::relay::wire::request::Request;
use crate::relay::wire::response::ErrorCode;

impl Engine {
    pub(super) fn refresh(
        &mut self,
        now: Now,
        client: FiveTuple,
        request: &Request<'_>,
        identity: &Identity,
    ) -> Result<Vec<u8>, ErrorCode> {
        let at = match self.named_by(now, client, request) {
            Ok(Named::On(at)) => at,
            Ok(Named::Answered(answer)) => {
                check_owner(&self.allocations, now, client, identity)?;
                return Ok(answer);
            }
            Err(code) => return Err(code),
        };
        let allocation = owned(&mut self.allocations, now, at, identity)?;
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
            Some(family) if lifetime.is_zero() => self.let_go_of(now, at, family, Ending::Released),
            None if lifetime.is_zero() => self.let_go(now, at, Ending::Released),
            Some(_) | None => {
                let expires_at = now.mono + lifetime;
                self.allocations.set_expiry(at, family, expires_at);
                // RFC 7635 §4: from now on it lives by the newer token.
                if identity.ends_at().is_some() {
                    owned(&mut self.allocations, now, at, identity)?.owner = identity.clone();
                }
            }
        }
        let mut response = self.success(request.reply_to).lifetime(lifetime);
        // Whoever refreshes without a ticket keeps the one they have.
        let ticket = request.mobility_ticket();
        if let Some(ticket) = ticket.and_then(|_| self.renew_ticket(at, client)) {
            response = response.mobility_ticket(ticket);
        }
        let answer = self.with_software(response).finish(identity.key());
        if ticket.is_some() {
            self.allocations
                .set_renewed_by(client, request.reply_to.transaction_id, &answer);
        }
        Ok(answer)
    }
}
