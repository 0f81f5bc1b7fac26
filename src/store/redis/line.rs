//! A connection to Redis, whatever stands at its other end.

use redis::{
    Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo},
    from_redis_value,
};
use tokio::task::JoinSet;

/// A connection that several may use at the same time.
#[derive(Clone)]
pub(super) enum Line {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Line {
    /// Sends commands for different keys, each with its own outcome.
    ///
    /// # Errors
    /// When the connection broke, and nobody knows which of them were done.
    pub(super) async fn each(
        &mut self,
        commands: Vec<Cmd>,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        match self {
            Self::One(connection) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command);
                }
                pipeline.ignore_errors().query_async(connection).await
            }
            // Their keys live on different nodes.
            Self::Cluster(connection) => {
                let mut outcomes = vec![Err(unanswered()); commands.len()];
                let mut asked = JoinSet::new();
                for (at, command) in commands.into_iter().enumerate() {
                    let mut connection = connection.clone();
                    asked.spawn(async move { (at, command.query_async(&mut connection).await) });
                }
                while let Some(answered) = asked.join_next().await {
                    if let Ok((at, outcome)) = answered {
                        outcomes[at] = outcome;
                    }
                }
                Ok(outcomes)
            }
        }
    }

    /// The names of all keys that match, in no order; some may come twice.
    pub(super) async fn scan(&mut self, pattern: &str) -> RedisResult<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        match self {
            Self::One(connection) => {
                let mut cursor = 0;
                loop {
                    let answer = scan_from(cursor, pattern).query_async(connection).await?;
                    cursor = add_names(&mut names, answer)?;
                    if cursor == 0 {
                        return Ok(names);
                    }
                }
            }
            Self::Cluster(connection) => {
                let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                let answers = connection
                    .route_command(scan_from(0, pattern), masters)
                    .await?;
                let answers: Vec<(String, Value)> = from_redis_value(answers)?;
                for (node, answer) in answers {
                    let mut cursor = add_names(&mut names, answer.extract_error()?)?;
                    while cursor != 0 {
                        let answer =
                            connection.route_command(scan_from(cursor, pattern), to(&node)?);
                        cursor = add_names(&mut names, answer.await?)?;
                    }
                }
                Ok(names)
            }
        }
    }
}

impl ConnectionLike for Line {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

fn scan_from(cursor: u64, pattern: &str) -> Cmd {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor)
        .arg("MATCH")
        .arg(pattern)
        .arg("COUNT")
        .arg(SCAN_COUNT);
    scan
}

/// How many keys Redis looks at for one answer.
const SCAN_COUNT: usize = 1000;

fn add_names(names: &mut Vec<Vec<u8>>, answer: Value) -> RedisResult<u64> {
    let (cursor, found): (u64, Vec<Vec<u8>>) = from_redis_value(answer)?;
    names.extend(found);
    Ok(cursor)
}

/// The node that the Cluster's client calls by this `host:port`.
fn to(node: &str) -> RedisResult<RoutingInfo> {
    let parts = node.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    let (host, port) = parts.ok_or((ErrorKind::Client, "a node without an address"))?;
    let node = SingleNodeRoutingInfo::ByAddress { host, port };
    Ok(RoutingInfo::SingleNode(node))
}

fn unanswered() -> RedisError {
    RedisError::from((ErrorKind::Client, "a command ended without an answer"))
}
