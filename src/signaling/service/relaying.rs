//! Where signaling and the relay meet: who is given credentials, and when the relay lets go of them.

use std::net::IpAddr;

use crate::clock::{Now, UnixMillis, UnixSeconds};
use crate::ident::{ParticipantId, SessionId, UserId};
use crate::relay::engine::signaled::PeerMode;
use crate::signaling::candidates;
use crate::signaling::protocol::{Event, Refusal, Reply};
use crate::signaling::session::change::Trespass;
use crate::store::log::Body;

use super::{Connection, IceServersAnswer, Service};

impl Service {
    /// Fresh credentials, for a member.
    pub(super) fn ice_servers(
        &self,
        now: Now,
        connection: &mut Connection,
        session: &SessionId,
    ) -> Result<Reply, Refusal> {
        let socket = connection.socket;
        let member = self
            .store
            .view(session, |state| state.participant_of(socket).cloned());
        let participant = member.ok_or(Trespass::NotInSession)?;
        Ok(Reply::IceServers(self.issue(now, connection, &participant)))
    }

    fn issue(
        &self,
        now: Now,
        connection: &mut Connection,
        participant: &ParticipantId,
    ) -> IceServersAnswer {
        let answer = self.ice_servers.for_participant(now, participant);
        connection.trust(now, &answer);
        self.tell(now, connection, &Event::ice_servers(&answer));
        answer
    }

    /// The participant holds the relay through this session. True if they did already.
    pub(in crate::signaling) fn hold(
        &self,
        participant: &ParticipantId,
        session: &SessionId,
    ) -> bool {
        if self.relay.peer_mode() != PeerMode::Any {
            self.relay
                .signaled()
                .enter(&UserId::of(participant), session);
        }
        self.leases().hold(participant, session)
    }

    /// The participant left this session for good at `at`: with the last one, the relay lets go at once.
    pub(super) fn let_go(&self, at: UnixMillis, participant: &ParticipantId, session: &SessionId) {
        self.offered.forget(session, participant);
        if self.relay.peer_mode() != PeerMode::Any {
            self.relay
                .signaled()
                .leave(&UserId::of(participant), session);
        }
        let mut leases = self.leases();
        if leases.release(participant, session) {
            // Still under the lock: a credential issued after this moment outlives the revocation.
            self.revoke(at, participant);
        }
    }

    /// Every credential that any node issued them until `at` is refused.
    pub(super) fn revoke(&self, at: UnixMillis, participant: &ParticipantId) {
        let until = self.credentials.revoke(at.seconds(), participant);
        let user = UserId::of(participant);
        self.relay.revoke(user.clone(), until);
        // What they relayed was of the stay that ends here.
        self.relay.forget_usage(&user);
        self.revocations().note(at.seconds(), participant, until);
        self.store_revoked(at, participant, until);
    }

    /// Nodes that start learn of it.
    pub(super) fn store_revoked(
        &self,
        now: UnixMillis,
        participant: &ParticipantId,
        until: UnixSeconds,
    ) {
        let kept = until.millis().since(now);
        let key = format!("setu:revoked:{participant}");
        self.put(&key, until.0.to_string(), kept);
    }

    /// Addresses in a member's message may be peers of those in the session; operators see of which kinds they are.
    pub(super) fn see_message(&self, id: &SessionId, from: &ParticipantId, event: &Event) {
        let kinds = candidates::kinds(event.payload.raw().get());
        self.offered.note(id, from, kinds);
        if self.relay.peer_mode() != PeerMode::Any {
            self.see_here(id, candidates::addresses(event.payload.raw().get()));
        }
    }

    /// So may the address that a member comes from.
    pub(super) fn see_source(&self, id: &SessionId, connection: &Connection) {
        if self.relay.peer_mode() != PeerMode::Any {
            self.see_here(id, vec![connection.source.0]);
        }
    }

    /// What is seen here, other nodes' relays are told of.
    fn see_here(&self, id: &SessionId, addresses: Vec<IpAddr>) {
        let is_news = self.see(id, addresses.clone());
        if let Some(log) = self.store.log().filter(|_| is_news) {
            let session = id.clone();
            // A candidate that cannot be passed on is none yet.
            log.append(Body::Seen { session, addresses });
        }
    }

    /// Nobody is in the session any more, nor awaited there.
    pub(in crate::signaling) fn forget_addresses(&self, id: &SessionId) {
        if self.relay.peer_mode() != PeerMode::Any {
            self.relay.signaled().end(id);
        }
    }

    /// They may be peers of those in the session. True if any was not known to be.
    pub(super) fn see(&self, id: &SessionId, addresses: Vec<IpAddr>) -> bool {
        self.relay.signaled().saw(id, addresses)
    }
}
