//! Keys of the contract and our own: what stands in them, for how long, and how often they are written.

use std::time::Duration;

use setu::store::redis::{KeyChange, Participants, Redis};

use crate::{
    node::{Node, eventually},
    servers::Server,
};

#[tokio::test]
async fn the_keys_of_a_session_are_written_with_their_lives_and_deleted() {
    let server = Server::start(&[]);
    let node = Node::join(&server.url()).await;
    let text = |text: &str| Some(Some(text.to_owned()));
    let change = KeyChange {
        participants: Some(update(&["b", "a"], &[])),
        timer: Some(Some(("timer".to_owned(), Duration::from_secs(60)))),
        signaling: text("signaling"),
        snapshot: text("snapshot"),
    };
    node.redis.write("s:1", change);
    let lasting = ("node".to_owned(), Duration::from_millis(5500));
    node.redis.put("setu:node:n", Some(lasting));
    node.flush().await;
    let expected = [
        ("participants:s:1", r#"["b","a"]"#, 3600),
        ("timer:s:1", "timer", 60),
        ("signaling:s:1", "signaling", 3600),
        ("setu:session:s:1", "snapshot", 3600),
        ("setu:node:n", "node", 6),
    ];
    for (key, value, life) in expected {
        assert_eq!(server.ask::<String>(&["GET", key]), value, "{key}");
        let ttl: i64 = server.ask(&["TTL", key]);
        assert!((life - 5..=life).contains(&ttl), "{key}: {ttl}");
    }
    let gone = KeyChange {
        participants: Some(Participants::Replace { present: vec![] }),
        timer: Some(None),
        signaling: Some(None),
        snapshot: Some(None),
    };
    node.redis.write("s:1", gone);
    node.redis.put("setu:node:n", None);
    node.flush().await;
    assert_eq!(server.ask::<usize>(&["DBSIZE"]), 0);
}

/// After an outage two nodes bring the last message that each of them knows, in any order.
#[tokio::test]
async fn the_newest_signaling_message_stays() {
    let server = Server::start(&[]);
    let node = Node::join(&server.url()).await;
    let message = |stamp: u64| format!(r#"{{"timestamp":{stamp},"data":{{"timestamp":9e15}}}}"#);
    const NOW: u64 = 1_700_000_000_000;
    let cases = [
        ("no JSON".to_owned(), message(NOW), message(NOW)),
        (
            r#"{"timestamp":"9e15"}"#.to_owned(),
            message(NOW),
            message(NOW),
        ),
        (message(NOW), message(NOW), message(NOW)),
        (message(NOW), message(NOW + 1), message(NOW + 1)),
        (message(NOW + 30_000), message(NOW), message(NOW + 30_000)),
        // Of a clock that was wrong.
        (message(NOW + 7_200_000), message(NOW), message(NOW)),
    ];
    for (stored, written, expected) in cases {
        server.ask::<()>(&["SET", "signaling:s", &stored]);
        let change = KeyChange {
            signaling: Some(Some(written.clone())),
            ..KeyChange::default()
        };
        node.redis.write("s", change);
        node.flush().await;
        let found: String = server.ask(&["GET", "signaling:s"]);
        assert_eq!(found, expected, "{written} after {stored}");
    }
}

/// Name, stored before, present, absent, stored afterwards.
type Case = (
    &'static str,
    Option<&'static str>,
    &'static [&'static str],
    &'static [&'static str],
    Option<&'static str>,
);

const PARTICIPANTS: &[Case] = &[
    (
        "nobody was there",
        None,
        &["b", "a"],
        &[],
        Some(r#"["b","a"]"#),
    ),
    ("nobody ever", None, &[], &["a"], None),
    (
        "those who are present stand in their order",
        Some(r#"["b","x","a"]"#),
        &["a", "b", "c"],
        &[],
        Some(r#"["a","x","b","c"]"#),
    ),
    (
        "back behind the application's",
        Some(r#"["a","x","b"]"#),
        &["b", "a"],
        &["a"],
        Some(r#"["x","b","a"]"#),
    ),
    (
        "one leaves",
        Some(r#"["a","b"]"#),
        &["b"],
        &["a"],
        Some(r#"["b"]"#),
    ),
    ("the last one leaves", Some(r#"["a"]"#), &[], &["a"], None),
    (
        "the application's stay",
        Some(r#"["x","a"]"#),
        &[],
        &["a"],
        Some(r#"["x"]"#),
    ),
    (
        "the application's keep places",
        Some(r#"["x"]"#),
        &["a"],
        &[],
        Some(r#"["x","a"]"#),
    ),
    (
        "back at the end",
        Some(r#"["a","b"]"#),
        &["b", "a"],
        &["a"],
        Some(r#"["b","a"]"#),
    ),
    (
        "each once",
        Some(r#"["a","a","b","a"]"#),
        &["b", "b"],
        &[],
        Some(r#"["a","b"]"#),
    ),
    (
        "filtered to nobody",
        Some("[]"),
        &["a"],
        &[],
        Some(r#"["a"]"#),
    ),
    ("empty stays no key", Some("[]"), &[], &[], None),
    (
        "junk among ids",
        Some(r#"[1,"x",null,{"a":1},["b"],true]"#),
        &["a"],
        &[],
        Some(r#"["x","a"]"#),
    ),
    ("no JSON", Some("{junk"), &["a"], &[], Some(r#"["a"]"#)),
    ("empty text", Some(""), &["a"], &[], Some(r#"["a"]"#)),
    (
        "an object",
        Some(r#"{"1":"x"}"#),
        &["a"],
        &[],
        Some(r#"["a"]"#),
    ),
    ("a text", Some(r#""x""#), &["a"], &[], Some(r#"["a"]"#)),
    ("null", Some("null"), &["a"], &[], Some(r#"["a"]"#)),
    (
        "any script",
        Some(r#"["श्री"]"#),
        &["\"\\\u{1f64f}"],
        &[],
        Some("[\"श्री\",\"\\\"\\\\\u{1f64f}\"]"),
    ),
];

#[tokio::test]
async fn participants_are_merged_with_what_the_application_wrote() {
    let server = Server::start(&[]);
    let node = Node::join(&server.url()).await;
    for (name, before, present, absent, _) in PARTICIPANTS {
        if let Some(before) = before {
            server.ask::<()>(&["SET", &format!("participants:{name}"), before]);
        }
        let participants = Some(update(present, absent));
        node.redis.write(
            name,
            KeyChange {
                participants,
                ..KeyChange::default()
            },
        );
    }
    node.flush().await;
    for (name, .., after) in PARTICIPANTS {
        let key = format!("participants:{name}");
        let found: Option<String> = server.ask(&["GET", &key]);
        assert_eq!(found.as_deref(), *after, "{name}");
        let ttl: i64 = server.ask(&["TTL", &key]);
        assert!(after.is_none() || ttl > 3500, "{name}: {ttl}");
    }
}

#[tokio::test]
async fn a_script_that_redis_forgot_is_sent_again() {
    let server = Server::start(&[]);
    let node = Node::join(&server.url()).await;
    for id in ["a", "b"] {
        server.ask::<()>(&["SCRIPT", "FLUSH"]);
        write_participant(&node.redis, "s", id);
        node.flush().await;
    }
    assert_eq!(
        server.ask::<String>(&["GET", "participants:s"]),
        r#"["a","b"]"#
    );
}

#[tokio::test]
async fn many_changes_of_a_session_are_few_writes() {
    let server = Server::start(&[]);
    let node = Node::join(&server.url()).await;
    for number in 0..1000 {
        let signaling = Some(Some(number.to_string()));
        node.redis.write(
            "s",
            KeyChange {
                signaling,
                ..KeyChange::default()
            },
        );
        let value = (number.to_string(), Duration::from_secs(9));
        node.redis.put("setu:k", Some(value));
        if number % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    node.flush().await;
    assert_eq!(server.ask::<String>(&["GET", "signaling:s"]), "999");
    assert_eq!(server.ask::<String>(&["GET", "setu:k"]), "999");
    // Ten pauses of ten milliseconds: two or three times a tenth of a second, unless the machine is very slow.
    let writes = server.calls("set");
    assert!((2..=20).contains(&writes), "{writes}");
}

#[tokio::test]
async fn a_key_of_another_type_is_ours_again_and_holds_up_nobody() {
    let server = Server::start(&[]);
    let node = Node::join(&server.url()).await;
    for key in ["participants:s", "timer:s", "signaling:s", "setu:session:s"] {
        server.ask::<usize>(&["LPUSH", key, "junk"]);
    }
    let timer = Some(Some(("t".to_owned(), Duration::from_secs(9))));
    let (signaling, snapshot) = (Some(Some("m".to_owned())), Some(Some("s".to_owned())));
    let participants = Some(update(&["a"], &[]));
    let change = KeyChange {
        participants,
        timer,
        signaling,
        snapshot,
    };
    node.redis.write("s", change);
    node.flush().await;
    assert_eq!(server.ask::<String>(&["GET", "participants:s"]), r#"["a"]"#);
    assert_eq!(server.ask::<String>(&["GET", "timer:s"]), "t");
}

/// Redis lets nobody write one key; all others are written meanwhile.
#[tokio::test]
async fn a_refused_key_waits_alone() {
    let server = Server::start(&[]);
    let rules = ["resetkeys", "~setu:*", "~participants:good", "+@all"];
    let mut words = vec!["ACL", "SETUSER", "setu", "on", ">pw"];
    words.extend(rules);
    server.ask::<()>(&words);
    let url = format!("redis://setu:pw@127.0.0.1:{}", server.port);
    let node = Node::join(&url).await;
    for session in ["bad", "good"] {
        write_participant(&node.redis, session, "a");
    }
    eventually("the good key is written", || {
        server
            .ask::<Option<String>>(&["GET", "participants:good"])
            .is_some()
    })
    .await;
    assert!(node.redis.is_live());
    assert_eq!(
        server.ask::<Option<String>>(&["GET", "participants:bad"]),
        None
    );
    server.ask::<()>(&["ACL", "SETUSER", "setu", "~*"]);
    node.flush().await;
    assert_eq!(
        server.ask::<String>(&["GET", "participants:bad"]),
        r#"["a"]"#
    );
}

#[tokio::test]
async fn what_was_there_is_restored_by_its_kind() {
    let server = Server::start(&[]);
    let texts = [
        ("participants:one", "[1]"),
        ("participants:", "no id"),
        ("timer:one", "{}"),
        ("setu:session:one:two", "snapshot"),
        ("setu:revoked:a", "7"),
        ("setu:node:n", "{}"),
        ("setu:secret", "north"),
        ("signaling:one", "{}"),
        ("parties:one", "foreign"),
        ("verse", "foreign"),
    ];
    for (key, value) in texts {
        server.ask::<()>(&["SET", key, value]);
    }
    server.ask::<()>(&["SET", "timer:two", "2", "EX", "100"]);
    server.ask::<usize>(&["LPUSH", "timer:list", "1"]);
    server.ask::<usize>(&["SADD", "setu:session:set", "1"]);
    let mut junk = redis::cmd("SET");
    junk.arg("timer:junk").arg(b"\xff".as_slice());
    let () = junk.query(&mut server.connection()).unwrap();
    for number in 0..3000 {
        server.ask::<()>(&["SET", &format!("setu:session:{number}"), "many"]);
    }
    let restored = Node::open(&server.url()).restored().await;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        restored.participants,
        [pair("", "no id"), pair("one", "[1]")]
    );
    assert_eq!(restored.revoked, [pair("a", "7")]);
    assert_eq!(restored.nodes, [pair("n", "{}")]);
    assert_eq!(restored.snapshots.len(), 3001);
    assert!(restored.snapshots.contains(&pair("one:two", "snapshot")));
    let [one, two] = &restored.timers[..] else {
        panic!("{:?}", restored.timers)
    };
    assert_eq!(*one, ("one".to_owned(), "{}".to_owned(), None));
    assert!(two.0 == "two" && two.2.is_some_and(|left| left > Duration::from_secs(90)));
}

#[tokio::test]
async fn nodes_agree_on_a_secret() {
    let server = Server::start(&[]);
    let (one, two) = (Node::open(&server.url()), Node::open(&server.url()));
    let within = Duration::from_secs(9);
    let both = tokio::join!(
        one.redis.share_secret("north", within),
        two.redis.share_secret("south", within)
    );
    assert!(both.0.is_some() && both.0 == both.1, "{both:?}");
    assert_eq!(
        server.ask::<Option<String>>(&["GET", "setu:secret"]),
        both.0
    );
}

pub(crate) fn update(present: &[&str], absent: &[&str]) -> Participants {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    Participants::Update {
        present: owned(present),
        absent: owned(absent),
    }
}

pub(crate) fn write_participant(redis: &Redis, session: &str, id: &str) {
    let participants = Some(update(&[id], &[]));
    redis.write(
        session,
        KeyChange {
            participants,
            ..KeyChange::default()
        },
    );
}
