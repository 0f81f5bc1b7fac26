//! Requests: proven, decided, answered.

use crate::clock::Now;
use crate::logging::Redacted;
use crate::relay::engine::allocations::{Allocation, Allocations};
use crate::relay::engine::auth::Identity;
use crate::relay::engine::five_tuple::FiveTuple;
use crate::relay::engine::outcome::Effect;
use crate::relay::engine::{Engine, channel, permission};
use crate::relay::wire::request::{Method, Request};
use crate::relay::wire::response::{ErrorCode, ReplyTo, Response};

impl Engine {
    pub(super) fn handle_request(&mut self, now: Now, client: FiveTuple, request: &Request<'_>) {
        self.expire(now);
        let owner = self
            .allocations
            .by_client(now, client)
            .map(|allocation| &allocation.owner);
        let identity = match self.authenticator.authenticate(now, client, request, owner) {
            Ok(identity) => identity,
            Err(code) => return self.challenge(now, client, request.reply_to, code),
        };
        let unknown = request.unknown_attributes();
        if !unknown.is_empty() {
            let response = Response::error(request.reply_to, ErrorCode::UnknownAttribute);
            return self.fail(
                client,
                response.unknown_attributes(unknown).finish(identity.key()),
            );
        }
        match self.decide(now, client, request, &identity) {
            Ok(Some(message)) => self.succeed(client, message),
            Ok(None) => {}
            Err(code) => self.refuse(client, request.reply_to, &identity, code),
        }
    }

    /// The answer to a proven request; `None` where it comes with the relay socket.
    fn decide(
        &mut self,
        now: Now,
        client: FiveTuple,
        request: &Request<'_>,
        identity: &Identity,
    ) -> Result<Option<Vec<u8>>, ErrorCode> {
        let success = || Response::success(request.reply_to);
        match request.method {
            Method::Binding => Ok(Some(success().mapped(client.client).finish(None))),
            Method::Allocate => self.allocate(now, client, request, identity.clone()),
            Method::Refresh => self.refresh(now, client, request, identity).map(Some),
            Method::CreatePermission => {
                let allocation = owned(&mut self.allocations, now, client, identity)?;
                permission::create(now, request, allocation, &self.peers, &mut self.counters)?;
                Ok(Some(success().finish(identity.key())))
            }
            Method::ChannelBind => {
                let allocation = owned(&mut self.allocations, now, client, identity)?;
                channel::bind(
                    now,
                    request,
                    allocation,
                    &self.peers,
                    self.channels,
                    &mut self.counters,
                )?;
                Ok(Some(success().finish(identity.key())))
            }
        }
    }

    fn challenge(&mut self, now: Now, client: FiveTuple, reply_to: ReplyTo, code: ErrorCode) {
        tracing::debug!(?code, client = %Redacted::new(client.client), "request not proven");
        let response = self.authenticator.challenge(now, client, reply_to, code);
        self.fail(client, response.finish(None));
    }

    pub(super) fn refuse(
        &mut self,
        client: FiveTuple,
        reply_to: ReplyTo,
        identity: &Identity,
        code: ErrorCode,
    ) {
        tracing::debug!(?code, client = %Redacted::new(client.client), "request refused");
        self.fail(
            client,
            Response::error(reply_to, code).finish(identity.key()),
        );
    }

    fn fail(&mut self, client: FiveTuple, message: Vec<u8>) {
        self.counters.refusals += 1;
        self.effects.push_back(Effect::Respond { client, message });
    }

    pub(super) fn succeed(&mut self, client: FiveTuple, message: Vec<u8>) {
        self.counters.successes += 1;
        self.effects.push_back(Effect::Respond { client, message });
    }

    pub(super) fn with_software(&self, response: Response) -> Response {
        match &self.software {
            Some(name) => response.software(name),
            None => response,
        }
    }
}

/// The allocation on this five-tuple, if it is the user's own
/// ([RFC 8656 §5](https://www.rfc-editor.org/rfc/rfc8656#section-5): 437, 441).
pub(super) fn owned<'a>(
    allocations: &'a mut Allocations,
    now: Now,
    client: FiveTuple,
    identity: &Identity,
) -> Result<&'a mut Allocation, ErrorCode> {
    let allocation = allocations
        .by_client_mut(now, client)
        .ok_or(ErrorCode::AllocationMismatch)?;
    if allocation.owner.user != identity.user {
        return Err(ErrorCode::WrongCredentials);
    }
    Ok(allocation)
}
