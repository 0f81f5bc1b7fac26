//! Every metric there is.

use super::{Kind, Metric};

macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                help: $help,
                labels: &[$($label),*],
            };
        )*

        /// All of them, in the order in which they are told.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    BUILD: Gauge "setu_build_info" ["version"] "1, with the version of this server as a label.";
    READY: Gauge "setu_ready" [] "Whether new work is welcome.";

    PACKETS: Counter "setu_relay_packets_total" ["direction"] "Datagrams relayed, those included that the system did not take.";
    PAYLOAD: Counter "setu_relay_payload_bytes_total" ["direction"] "Payload relayed.";
    DROPS: Counter "setu_relay_dropped_packets_total" ["reason"] "Datagrams and messages dropped without an answer, and connections of peers refused.";
    UNSENT: Counter "setu_relay_unsent_packets_total" ["direction"] "Datagrams and messages that the system, or a slow reader, did not take.";
    ICMP: Counter "setu_relay_icmp_messages_total" [] "ICMP messages that clients were told of.";
    SUCCESSES: Counter "setu_relay_successes_total" ["method"] "Requests answered with success.";
    REFUSALS: Counter "setu_relay_errors_total" ["code"] "Requests answered with an error; 401 and 438 are part of every beginning.";
    FAILED_LOGINS: Counter "setu_relay_failed_logins_total" [] "Requests whose credentials proved nothing.";
    DENIED_PEERS: Counter "setu_relay_denied_peers_total" ["kind"] "Peers that the policy denied, to a request or to a datagram.";
    UNSIGNALED_PEERS: Counter "setu_relay_unsignaled_peers_total" ["outcome"] "Requests for a peer that no session had named.";
    TAKEN_PEERS: Counter "setu_relay_taken_peers_total" [] "Requests refused (508) for a peer of another allocation on the same relayed address, or for one more than are kept in mind.";
    ALLOCATIONS: Gauge "setu_relay_allocations" ["transport", "relayed"] "Allocations alive, by how clients come and what is relayed.";
    MADE: Counter "setu_relay_allocations_made_total" ["transport"] "Allocations made, by how clients came.";
    SHARED: Counter "setu_relay_allocations_shared_total" [] "Relayed addresses given to an allocation that others had already.";
    ENDED: Counter "setu_relay_allocations_ended_total" ["reason"] "Allocations ended.";
    PERMISSIONS: Gauge "setu_relay_permissions" [] "Permissions of allocations alive, those that lapsed unnoticed included.";
    CHANNELS: Gauge "setu_relay_channels" [] "Channels of allocations alive, those that lapsed unnoticed included.";
    CONNECTIONS: Gauge "setu_relay_connections" [] "TCP and TLS connections of clients, and DTLS sessions.";
    PEER_CONNECTIONS: Gauge "setu_relay_peer_connections" [] "TCP connections with peers, those in the making included.";
    PORTS_IN_USE: Gauge "setu_relay_ports_in_use" ["relayed"] "Relay ports in use or reserved.";
    PORTS: Gauge "setu_relay_ports" ["relayed"] "Relay ports that there are.";

    LIMITS: Counter "setu_limit_refusals_total" ["wing", "limit"] "What limits have refused, by the part of the server and their keys.";

    SESSIONS: Gauge "setu_signaling_sessions" [] "Sessions with a participant who is connected here.";
    PARTICIPANTS: Gauge "setu_signaling_participants" [] "Participants of sessions who are connected here.";
    SOCKETS: Gauge "setu_signaling_sockets" [] "Socket.IO connections.";
    MONITORS: Gauge "setu_signaling_parser_monitors" [] "Socket.IO connections that watch the parser.";
    ENGINES: Gauge "setu_signaling_engine_sessions" ["transport"] "Engine.IO sessions.";
    ENGINES_OPENED: Counter "setu_signaling_engine_sessions_opened_total" ["transport"] "Engine.IO sessions opened, by how they began.";
    UPGRADES: Counter "setu_signaling_upgrades_total" [] "Engine.IO sessions that changed from long-polling to WebSocket.";
    CONNECTED: Counter "setu_signaling_connections_total" [] "Socket.IO connections let in.";
    RECOVERED: Counter "setu_signaling_recovered_connections_total" [] "Socket.IO connections let in that took up a lost one.";
    TURNED_AWAY: Counter "setu_signaling_rejected_connections_total" ["reason"] "Socket.IO connections not let in.";
    CUT: Counter "setu_signaling_cut_connections_total" ["reason"] "Connections cut off by this server.";
    EVENTS: Counter "setu_signaling_events_total" ["event"] "Events from clients; other: those without a meaning.";
    ERRORS: Counter "setu_signaling_errors_total" ["code"] "Events answered with an error.";
    HANDLING: Histogram "setu_signaling_event_duration_seconds" [] "From an event's arrival until all have been handed what it means.";

    CREDENTIALS_FAILED: Counter "setu_http_failed_logins_total" [] "HTTP requests with a wrong admin token.";

    NODES: Gauge "setu_cluster_nodes" [] "Nodes that share one Redis, this one among them.";
    ALL_SESSIONS: Gauge "setu_cluster_sessions" [] "Sessions with participants, of all nodes.";
    ALL_PARTICIPANTS: Gauge "setu_cluster_participants" [] "Participants of sessions, of all nodes.";

    REDIS_UP: Gauge "setu_redis_up" [] "Whether Redis is there and takes what it is given; only where one is configured.";
    REDIS_CONNECTIONS: Counter "setu_redis_connections_total" [] "How often Redis was connected to.";
    REDIS_ENTRIES: Gauge "setu_redis_pending_entries" [] "Entries of the log that Redis has not confirmed.";
    REDIS_BYTES: Gauge "setu_redis_pending_bytes" [] "Their size.";
    REDIS_KEYS: Gauge "setu_redis_pending_keys" [] "Keys, and sessions whose keys, wait to be written.";
    REDIS_DROPPED: Counter "setu_redis_dropped_entries_total" [] "Entries of the log dropped, as too much waited.";
    REDIS_APPEND: Histogram "setu_redis_append_duration_seconds" [] "From sending entries of the log to their confirmation.";

    CPU: Counter "process_cpu_seconds_total" [] "Processor time, the system's on our behalf included.";
    RESIDENT: Gauge "process_resident_memory_bytes" [] "Memory in use.";
    VIRTUAL: Gauge "process_virtual_memory_bytes" [] "Memory promised.";
    THREADS: Gauge "process_threads" [] "Threads.";
    DESCRIPTORS: Gauge "process_open_fds" [] "Files and sockets open.";
    DESCRIPTORS_MAX: Gauge "process_max_fds" [] "How many files and sockets may be open.";
    STARTED: Gauge "process_start_time_seconds" [] "When the process began, in Unix time.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_count_and_in_which_unit() {
        for Metric {
            name,
            kind,
            help,
            labels,
        } in ALL
        {
            let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.chars().all(is_word), "{name}");
            assert!(name.starts_with("setu_") || name.starts_with("process_"));
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert_eq!(
                name.ends_with("_duration_seconds"),
                *kind == Kind::Histogram
            );
            assert!(
                help.ends_with('.') && !help.contains(['\n', '\\']),
                "{name}"
            );
            for label in *labels {
                assert!(label.chars().all(is_word) && *label != "le", "{name}");
            }
        }
        let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len(), "each name once");
    }
}
