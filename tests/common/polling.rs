//! A Socket.IO client over plain HTTP: long-polling, and no more of it than tests of the server's other sides need.

use std::{collections::VecDeque, net::SocketAddr};

use serde_json::{Value, json};

use super::common::{ask, get};

pub(crate) struct Polling {
    server: SocketAddr,
    path: String,
    unread: VecDeque<(String, Value)>,
}

/// User name and password, as `session-joined` brought them.
pub(crate) fn credential(joined: &Value) -> [&str; 2] {
    let mut servers = joined["iceServers"].as_array().unwrap().iter();
    let turn = servers.find(|server| server.get("credential").is_some());
    ["username", "credential"].map(|key| turn.unwrap()[key].as_str().unwrap())
}

impl Polling {
    /// Connected, and a member of the session.
    #[allow(dead_code, reason = "each test target uses its part")]
    pub(crate) fn join(server: SocketAddr, session: &str, participant: &str) -> (Self, Value) {
        Self::connect(server).joined(session, participant)
    }

    /// The same where a token is asked for.
    #[allow(dead_code, reason = "each test target uses its part")]
    pub(crate) fn join_by(
        token: &str,
        server: SocketAddr,
        session: &str,
        participant: &str,
    ) -> (Self, Value) {
        let client = Self::connect_with(server, &json!({ "token": token }).to_string());
        client.joined(session, participant)
    }

    fn joined(mut self, session: &str, participant: &str) -> (Self, Value) {
        self.emit(
            "join-session",
            &json!({ "sessionId": session, "participantId": participant }),
        );
        let joined = self.wait_for("session-joined");
        (self, joined)
    }

    /// The code of the error that a join is answered with.
    #[allow(dead_code, reason = "each test target uses its part")]
    pub(crate) fn refused(server: SocketAddr, session: &str, participant: &str) -> String {
        let mut client = Self::connect(server);
        client.emit(
            "join-session",
            &json!({ "sessionId": session, "participantId": participant }),
        );
        client.wait_for("error")["code"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) fn connect(server: SocketAddr) -> Self {
        Self::connect_with(server, "")
    }

    fn connect_with(server: SocketAddr, auth: &str) -> Self {
        let path = "/socket.io/?EIO=4&transport=polling";
        let opened = get(server, path).body;
        let opened: Value = serde_json::from_str(opened.strip_prefix('0').unwrap()).unwrap();
        let path = format!("{path}&sid={}", opened["sid"].as_str().unwrap());
        let mut client = Self {
            server,
            path,
            unread: VecDeque::new(),
        };
        client.send(&format!("40{auth}"));
        client
    }

    pub(crate) fn emit(&mut self, event: &str, payload: &Value) {
        self.send(&format!("42{}", json!([event, payload])));
    }

    /// What the next event of this name carries; others are passed over.
    pub(crate) fn wait_for(&mut self, event: &str) -> Value {
        loop {
            match self.unread.pop_front() {
                Some((name, payload)) if name == event => return payload,
                Some(_) => {}
                None => self.poll(),
            }
        }
    }

    /// The server keeps the request until there is something to tell.
    fn poll(&mut self) {
        let answer = get(self.server, &self.path);
        assert_eq!(answer.status, 200, "{answer:?}");
        for packet in answer.body.split('\x1e') {
            if packet == "2" {
                self.send("3");
            } else if let Some(event) = packet.strip_prefix("42") {
                // A third one is the offset, for clients that are to be recovered.
                let mut parts: Vec<Value> = serde_json::from_str(event).unwrap();
                let name = parts[0].as_str().unwrap().to_owned();
                self.unread.push_back((name, parts.swap_remove(1)));
            }
        }
    }

    fn send(&mut self, packet: &str) {
        let head = ["Content-Type: text/plain;charset=UTF-8"];
        let answer = ask(self.server, &format!("POST {}", self.path), &head, packet);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}
