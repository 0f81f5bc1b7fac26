//! Requests: proven, decided, answered.

use crate::clock::Now;
use crate::logging::Redacted;
use crate::relay::engine::allocation::Allocation;
use crate::relay::engine::allocations::Allocations;
use crate::relay::engine::auth::Identity;
use crate::relay::engine::five_tuple::{FiveTuple, Transport};
use crate::relay::engine::outcome::Effect;
use crate::relay::engine::relays::Taken;
use crate::relay::engine::{Engine, channel, mobility, permission, tcp};
use crate::relay::wire::attributes::{ATTR_ACCESS_TOKEN, ATTR_CHANGE_REQUEST};
use crate::relay::wire::request::{Method, Request};
use crate::relay::wire::response::{ErrorCode, ReplyTo, Response};
use crate::source::Source;

impl Engine {
    pub(super) fn handle_request(&mut self, now: Now, client: FiveTuple, request: &Request<'_>) {
        let identity = match self.identify(now, client, request) {
            Ok(identity) => identity,
            Err(code) => return self.challenge(now, client, request, code),
        };
        let mut unknown = request.unknown_attributes();
        unknown.retain(|typ| match *typ {
            ATTR_ACCESS_TOKEN => !self.authenticator.takes_tokens(),
            ATTR_CHANGE_REQUEST => !self.can_change(client, request),
            _ => true,
        });
        if !unknown.is_empty() {
            if identity.key().is_none() && !self.may_answer_strangers(now, client) {
                return;
            }
            let code = ErrorCode::UnknownAttribute;
            let response = self
                .error(request.reply_to, code)
                .unknown_attributes(&unknown);
            return self.fail(client, code, response.finish(identity.key()));
        }
        match self.decide(now, client, request, &identity) {
            Ok(Some(message)) => self.succeed(client, request.method, message),
            Ok(None) => {}
            Err(code) => self.refuse(now, client, request.reply_to, &identity, code),
        }
    }

    fn identify(
        &mut self,
        now: Now,
        client: FiveTuple,
        request: &Request<'_>,
    ) -> Result<Identity, ErrorCode> {
        // About no allocation: it is answered as fast as it can be.
        if request.method == Method::Binding {
            return Ok(Identity::anyone());
        }
        self.expire(now);
        let allocations = &self.allocations;
        let about = tcp::subject(now, allocations, &self.connections, client, request);
        let owner = about
            .map(|allocation| &allocation.owner)
            .or_else(|| mobility::owner(now, allocations, request));
        let control = about.map(|allocation| allocation.client.client);
        self.authenticator
            .authenticate(now, client, request, owner, control)
    }

    /// The answer to a proven request; `None` where it comes by another way: with the relay socket, or a connection.
    fn decide(
        &mut self,
        now: Now,
        client: FiveTuple,
        request: &Request<'_>,
        identity: &Identity,
    ) -> Result<Option<Vec<u8>>, ErrorCode> {
        match request.method {
            Method::Binding => self.binding(client, request),
            Method::Allocate => self.allocate(now, client, request, identity.clone()),
            Method::Refresh => self.refresh(now, client, request, identity).map(Some),
            Method::CreatePermission => {
                self.permit(now, client, request, identity)?;
                Ok(Some(self.success(request.reply_to).finish(identity.key())))
            }
            Method::Connect => self.connect(now, client, request, identity).map(|()| None),
            Method::ConnectionBind => {
                let id = self.bind_connection(now, client, request, identity)?;
                let message = self.success(request.reply_to).finish(identity.key());
                self.succeed(client, request.method, message);
                self.effects.push(Effect::Splice { client, id });
                Ok(None)
            }
            Method::ChannelBind => {
                self.bind_channel(now, client, request, identity)?;
                Ok(Some(self.success(request.reply_to).finish(identity.key())))
            }
        }
    }

    /// CreatePermission: all its peers are permitted, or none.
    fn permit(
        &mut self,
        now: Now,
        client: FiveTuple,
        request: &Request<'_>,
        identity: &Identity,
    ) -> Result<(), ErrorCode> {
        let allocation = owned(&mut self.allocations, now, client, identity)?;
        let counters = &mut self.counters;
        let peers = permission::admit(now, request, allocation, &self.peers, counters)?;
        let claimed = self.allocations.claim_permitted(now, client, &peers);
        self.claimed(claimed)?;
        let ips = peers.iter().map(|peer| peer.0.ip()).collect();
        self.change(now, client, identity, |allocation| {
            allocation.permissions.install(now, ips)
        })
    }

    fn bind_channel(
        &mut self,
        now: Now,
        client: FiveTuple,
        request: &Request<'_>,
        identity: &Identity,
    ) -> Result<(), ErrorCode> {
        let allocation = owned(&mut self.allocations, now, client, identity)?;
        if allocation.connections.is_some() {
            return Err(ErrorCode::Forbidden);
        }
        let before = allocation.held();
        let counters = &mut self.counters;
        let (peers, range) = (&self.peers, self.channels);
        let admitted = channel::admit(now, request, allocation, peers, range, counters);
        // Bindings that had lapsed may be gone by now.
        let held = allocation.held();
        self.allocations.recount(before, held);
        let (number, peer) = admitted?;
        let claimed = self.allocations.claim(now, client, &[peer]);
        self.claimed(claimed)?;
        self.change(now, client, identity, |allocation| {
            channel::bind(now, allocation, number, peer)
        })
    }

    /// 508 where another allocation on the same relayed transport address has a peer.
    fn claimed(&mut self, claimed: Result<(), Taken>) -> Result<(), ErrorCode> {
        claimed.map_err(|Taken| {
            self.counters.peers_taken += 1;
            ErrorCode::InsufficientCapacity
        })
    }

    /// Changes what the client's allocation holds.
    fn change(
        &mut self,
        now: Now,
        client: FiveTuple,
        identity: &Identity,
        change: impl FnOnce(&mut Allocation) -> Result<(), ErrorCode>,
    ) -> Result<(), ErrorCode> {
        let allocation = owned(&mut self.allocations, now, client, identity)?;
        let before = allocation.held();
        let changed = change(allocation);
        let held = allocation.held();
        self.allocations.recount(before, held);
        changed
    }

    /// Answers what proved nothing, as long as the limits have an answer for it.
    fn challenge(&mut self, now: Now, client: FiveTuple, request: &Request<'_>, code: ErrorCode) {
        tracing::debug!(?code, client = %Redacted::new(client.client), "request not proven");
        let is_failed_login =
            code == ErrorCode::Unauthenticated && request.integrities().decisive().is_some();
        let source = Source(client.client.ip());
        self.counters.failed_logins += u64::from(is_failed_login);
        if is_failed_login && !self.limits.admit_failed_login(now, source) {
            return;
        }
        if !self.may_answer_strangers(now, client) {
            return;
        }
        let response = self.error(request.reply_to, code);
        let response = self.authenticator.challenge(now, client, response, code);
        self.fail(client, code, response.finish(None));
    }

    /// Whether an unsigned error may be sent. Whoever completed a handshake sent from the address that is answered.
    fn may_answer_strangers(&self, now: Now, client: FiveTuple) -> bool {
        match client.transport {
            Transport::Udp => self.limits.admit_reply(now, Source(client.client.ip())),
            Transport::Tcp | Transport::Tls | Transport::Dtls => true,
        }
    }

    pub(super) fn refuse(
        &mut self,
        now: Now,
        client: FiveTuple,
        reply_to: ReplyTo,
        identity: &Identity,
        code: ErrorCode,
    ) {
        tracing::debug!(?code, client = %Redacted::new(client.client), "request refused");
        if identity.key().is_none() && !self.may_answer_strangers(now, client) {
            return;
        }
        let message = self.error(reply_to, code).finish(identity.key());
        self.fail(client, code, message);
    }

    pub(super) fn fail(&mut self, client: FiveTuple, code: ErrorCode, message: Vec<u8>) {
        self.counters.count_refusal(code);
        self.effects.respond(client, message);
    }

    pub(super) fn succeed(&mut self, client: FiveTuple, method: Method, message: Vec<u8>) {
        self.counters.count_success(method);
        self.effects.respond(client, message);
    }

    pub(super) fn success(&mut self, reply_to: ReplyTo) -> Response {
        Response::success(self.effects.buffer(), reply_to)
    }

    pub(super) fn error(&mut self, reply_to: ReplyTo, code: ErrorCode) -> Response {
        Response::error(self.effects.buffer(), reply_to, code)
    }

    pub(super) fn with_software(&self, response: Response) -> Response {
        match &self.software {
            Some(name) => response.software(name),
            None => response,
        }
    }
}

/// The allocation on this five-tuple, if it is the user's own. Whoever proves to be where it moves to has arrived.
pub(super) fn owned<'a>(
    allocations: &'a mut Allocations,
    now: Now,
    client: FiveTuple,
    identity: &Identity,
) -> Result<&'a mut Allocation, ErrorCode> {
    check_owner(allocations, now, client, identity)?;
    let allocation = allocations.by_sender(now, &client);
    allocation.map_or(Err(ErrorCode::AllocationMismatch), |(_, found)| Ok(found))
}

/// Whether there is an allocation on this five-tuple, and the user's own
/// ([RFC 8656 §5](https://www.rfc-editor.org/rfc/rfc8656#section-5): 437, 441).
pub(super) fn check_owner(
    allocations: &Allocations,
    now: Now,
    client: FiveTuple,
    identity: &Identity,
) -> Result<(), ErrorCode> {
    let allocation = allocations
        .by_client(now, client)
        .ok_or(ErrorCode::AllocationMismatch)?;
    if allocation.owner.user() != identity.user() {
        return Err(ErrorCode::WrongCredentials);
    }
    Ok(())
}
